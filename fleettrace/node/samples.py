"""Read samples of memcached's counters and CPU time from a node, and compute what they show of a span of time.

A sample holds the values at one moment; the window of a trace begins and ends between two samples. The value of a
counter there is interpolated. The error bound comes from the samples themselves: it is no larger than the samples on
either side allow, and no larger than the error of interpolation at the samples near by, or the size of a burst among
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from fleettrace.node.plausible import MAX_INSTANCES, MAX_INTEGER

__all__ = [
    "COUNTERS",
    "ClassSample",
    "Sample",
    "SampleReader",
    "Span",
    "by_process",
    "counted",
    "cpu_between",
    "in_order",
    "most_counted",
    "most_read",
    "read_between",
    "surely_counted",
    "was_reset",
]

COUNTERS = (
    *("get_hits", "get_misses", "evictions", "expired_unfetched", "get_expired", "reclaimed", "total_connections"),
    *("rejected_connections", "listen_disabled_num", "conn_yields", "bytes_read", "bytes_written", "curr_connections"),
    *("max_connections", "bytes", "limit_maxbytes", "threads", "curr_items"),
)
"""memcached's names of the counters in a sample, in their order (stats.sh, stats.pl)."""
_COUNTER = rb"(?:\d{1,20}|-)"
_SAMPLE = re.compile(
    rb"(\d{1,10}) (\d{1,15}) (\d{1,15}) (\d{1,19}) (\d{1,19}|-)(?: (\d{1,19}|-))?"
    rb"(?: (%b(?:,%b){%d})?)?" % (_COUNTER, _COUNTER, len(COUNTERS) - 1)
)
_CLASS = rb"\d{1,3}:\d{1,20}:(?:\d{1,10}|-)"
_CLASSES = re.compile(rb"(\d{1,10}) (\d{1,15}) classes (\d{1,20}|-) ((?:%b(?:,%b){0,63})?)" % (_CLASS, _CLASS))
_LONGEST = 2560
"""Bytes of the longest sample, one of 64 classes; a longer text after a NUL is not a sample."""
_CENTISECOND_NS = 10_000_000
_SLOW_NS = 400_000_000
"""The counters in an answer that took longer are ignored, because their time is not known well enough. (An answer to
bash takes 10 ms; where each sample starts a program, up to 200 on a busy node.)"""
_NEAR = 4
"""Samples on either side of an edge that show how steady the traffic is there."""
_LEAST_NEAR = 4
"""The fewest samples that show it."""
_MOST_SAMPLES = 8192
"""Samples stored of one node, where `_LEAST_EACH` of each process are fewer: 3 MB. A process has some 60, and 4 more
for each second that bpftrace takes to start."""
_LEAST_EACH = 32
"""Samples of each process for which there is room, however many processes there are."""


class Sample(NamedTuple):
    """The counters of one memcached process at one moment."""

    pid: int
    ns: int
    """Since boot, on the clock of /proc/uptime; a multiple of 10 ms."""
    cpu_ns: int | None
    """CPU time that all its threads have used together; None if unknown."""
    requests: int | None
    """The requests for one key that it has counted; None if it did not answer."""
    within_ns: int = 0
    """The most time between `ns` and the reading of the counter."""
    read_bytes: int | None = None
    """Bytes that it has read, mostly from its clients (`rchar` of /proc/PID/io); None if unknown."""
    counters: bytes = b""
    """Its `COUNTERS` as text, with commas and `-` for an unknown one; empty if it did not answer."""


class ClassSample(NamedTuple):
    """The evictions of each slab class of one memcached process at one moment."""

    pid: int
    ns: int
    """As in `Sample`."""
    evictions: int | None
    """Of all classes, by `stats`."""
    classes: dict[int, tuple[int, int | None]]
    """By the class's number: its evictions, and the bytes of a chunk, None if unknown."""


class Span(NamedTuple):
    """The least and the greatest possible value of a number."""

    least: int
    greatest: int

    def nearest(self, number: int) -> int:
        """Return the number of the span that is nearest to `number`."""
        return min(max(number, self.least), self.greatest)


class SampleReader:
    """Extracts samples from a node's standard error, where they stand between NULs among other text."""

    def __init__(self) -> None:
        self._buffer = b""
        self.samples: list[Sample] = []
        self.classes: dict[int, tuple[ClassSample, ClassSample]] = {}
        """The first and the last of each process, by pid."""
        self._pids: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """Store the samples in `data` and return the other text, in linear time."""
        text, position, other = self._buffer + data, 0, bytearray()
        while (opened := text.find(b"\0", position)) >= 0:
            other += text[position:opened]
            position = opened
            closed = text.find(b"\0", opened + 1, opened + 2 + _LONGEST)
            if closed < 0 and len(text) <= opened + 1 + _LONGEST:
                break
            found = text[opened + 1 : closed] if closed >= 0 else b""
            sample = _parse_sample(found)
            classes = _parse_classes(found) if sample is None else None
            position = opened + 1 if sample is None and classes is None else closed + 1
            if sample is not None:
                self._store(sample)
            elif classes is not None and (classes.pid in self.classes or len(self.classes) < MAX_INSTANCES):
                self.classes[classes.pid] = (self.classes.get(classes.pid, (classes,))[0], classes)
        if opened < 0:
            other += text[position:]
            position = len(text)
        self._buffer = text[position:]
        return bytes(other)

    def _store(self, sample: Sample) -> None:
        """Store a sample. Of too many, the newest of each process stay, and fewer the older they are."""
        if sample.pid not in self._pids:
            if len(self._pids) >= MAX_INSTANCES:
                return
            self._pids.add(sample.pid)
        self.samples.append(sample)
        most = max(_MOST_SAMPLES, _LEAST_EACH * len(self._pids))
        if len(self.samples) > most:
            # To half of them: thinning for each new sample would take quadratic time.
            self.samples = _thinned(self.samples, most // 2 // len(self._pids))


def _thinned(samples: Sequence[Sample], each: int) -> list[Sample]:
    """Return the samples, in their order, with `each` of a process at the most.

    Half of these are its newest ones. The others are spread over the older ones, with the first of all: the window of a
    trace may have begun before the newest.
    """
    positions: dict[int, list[int]] = {}
    for position, sample in enumerate(samples):
        positions.setdefault(sample.pid, []).append(position)
    stored: list[int] = []
    for own in positions.values():
        if len(own) > each:
            newest = each // 2
            older, spread = len(own) - newest, each - newest
            own = [*(own[index * older // spread] for index in range(spread)), *own[older:]]
        stored += own
    return [samples[position] for position in sorted(stored)]


def _parse_sample(text: bytes) -> Sample | None:
    found = _SAMPLE.fullmatch(text)
    if found is None:
        return None
    before, after, cpu = (int(found[index]) for index in (2, 3, 4))
    taken = (after - before) * _CENTISECOND_NS
    requests = None if found[5] == b"-" or not 0 <= taken <= _SLOW_NS else int(found[5])
    if requests is not None and requests > MAX_INTEGER:
        requests = None
    # The clock truncates to 10 ms.
    middle = before * _CENTISECOND_NS + (taken + _CENTISECOND_NS) // 2
    read_bytes = None if found[6] in (None, b"-") else int(found[6])
    counters = (found[7] or b"") if requests is not None else b""
    return Sample(int(found[1]), middle, cpu or None, requests, (taken + _CENTISECOND_NS) // 2, read_bytes, counters)


def _parse_classes(text: bytes) -> ClassSample | None:
    found = _CLASSES.fullmatch(text)
    if found is None:
        return None
    classes = {}
    for number, evictions, chunk in (one.split(b":") for one in found[4].split(b",") if one):
        classes[int(number)] = (int(evictions), None if chunk == b"-" else int(chunk))
    evictions = None if found[3] == b"-" else int(found[3])
    return ClassSample(int(found[1]), int(found[2]) * _CENTISECOND_NS, evictions, classes)


def by_process(samples: Iterable[Sample]) -> dict[int, list[Sample]]:
    """Return the samples of each process, by pid."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.pid, []).append(sample)
    return found


def in_order(samples: Iterable[Sample], pid: int, offset_ns: int = 0) -> list[Sample]:
    """Return one process's samples in order of time, on a clock that is `offset_ns` behind."""
    return sorted(
        (sample._replace(ns=sample.ns - offset_ns) for sample in samples if sample.pid == pid), key=lambda one: one.ns
    )


def counted(samples: Sequence[Sample], start_ns: int, end_ns: int) -> Span | None:
    """Return the bounds of the number of requests that memcached counted in a span of time, from samples in order.

    None if the samples do not enclose the span, and if the counter went back because a user reset it.
    """
    answered = [sample for sample in samples if sample.requests is not None]
    first, last = _counter_at(answered, start_ns), _counter_at(answered, end_ns)
    if first is None or last is None:
        return None
    return Span(max(0, last.least - first.greatest), max(0, last.greatest - first.least))


def surely_counted(samples: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the least number of requests that memcached can have counted in a span of time, without interpolation.

    This is the growth from the first to the last sample that certainly lie in the span. A counter that fell was reset
    (`stats reset`), and counted its new value since. memcached resets one thread after the other, so a sample taken
    meanwhile may hold requests from before: a fallen value counts only where the next sample is not lower. None where
    there are no two such samples.
    """
    inside = _inside(samples, start_ns, end_ns)
    if len(inside) < 2:
        return None
    since = inside[0]
    least = 0
    for earlier, later in pairwise(inside):
        if later >= earlier:
            least += later - since
            since = later
        else:
            since = 0
    return least


def was_reset(samples: Sequence[Sample]) -> bool:
    """Return whether the counters fell from one sample to a later one."""
    counts = [sample.requests for sample in samples if sample.requests is not None]
    return any(later < earlier for earlier, later in pairwise(counts))


def _inside(samples: Sequence[Sample], start_ns: int, end_ns: int) -> list[int]:
    """Return the count of each sample that certainly lies in the span."""
    return [
        one.requests
        for one in samples
        if one.requests is not None and one.ns - one.within_ns >= start_ns and one.ns + one.within_ns <= end_ns
    ]


def read_between(samples: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the bytes that memcached read between the first and the last sample in a span of time.

    None as in `surely_counted`.
    """
    inside = [
        sample.read_bytes
        for sample in samples
        if sample.read_bytes is not None
        and sample.ns - sample.within_ns >= start_ns
        and sample.ns + sample.within_ns <= end_ns
    ]
    return _growth(inside)


def most_counted(samples: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the most requests that memcached can have counted in a span of time, without interpolation.

    This is the growth from the last sample before the span to the first one after it. None if there are no
    such samples, and if the counter went back.
    """
    return _growth_around([(sample, sample.requests) for sample in samples], start_ns, end_ns)


def most_read(samples: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the most bytes that memcached can have read in a span of time; None as in `most_counted`."""
    return _growth_around([(sample, sample.read_bytes) for sample in samples], start_ns, end_ns)


def _growth_around(samples: Sequence[tuple[Sample, int | None]], start_ns: int, end_ns: int) -> int | None:
    known = [(sample, value) for sample, value in samples if value is not None]
    before = [index for index, (sample, _) in enumerate(known) if sample.ns + sample.within_ns <= start_ns]
    after = [index for index, (sample, _) in enumerate(known) if sample.ns - sample.within_ns >= end_ns]
    if not before or not after:
        return None
    return _growth([value for _, value in known[before[-1] : after[0] + 1]])


def _growth(values: Sequence[int]) -> int | None:
    if len(values) < 2 or any(later < earlier for earlier, later in pairwise(values)):
        return None
    return values[-1] - values[0]


def cpu_between(samples: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return about how many nanoseconds of CPU the process used in a span of time; None if unknown."""
    series = [(sample.ns, sample.cpu_ns) for sample in samples if sample.cpu_ns is not None]
    first, last = _interpolated(series, start_ns), _interpolated(series, end_ns)
    if first is None or last is None or last < first:
        return None
    return round(last - first)


_Series = Sequence[tuple[int, int]]


def _counter_at(samples: Sequence[Sample], ns: int) -> Span | None:
    """Return the bounds of the counter at a moment between two samples."""
    series = [(sample.ns, sample.requests or 0) for sample in samples]
    value = _interpolated(series, ns)
    if value is None or any(later[1] < earlier[1] for earlier, later in pairwise(series)):
        return None
    after = next(index for index, sample in enumerate(series) if sample[0] >= ns)
    around = samples[max(0, after - 1) : after + 1]
    late = max(sample.within_ns for sample in around)
    low = max((each.requests or 0 for each in samples if each.ns + each.within_ns <= ns), default=series[0][1])
    high = min(
        (sample.requests or 0 for sample in samples if sample.ns - sample.within_ns >= ns), default=series[-1][1]
    )
    earlier = _interpolated(series, max(series[0][0], ns - late)) or 0
    later = _interpolated(series, min(series[-1][0], ns + late)) or 0
    near = series[max(0, after - 1 - _NEAR) : after + 1 + _NEAR]
    if len(near) < _LEAST_NEAR:
        return Span(low, high)
    error = max(_roughness(near), _burst(series, after))
    return Span(max(low, int(earlier - error)), min(high, int(later + error) + 1))


def _roughness(series: _Series) -> float:
    """Return the largest error of interpolation at the samples."""
    return max(
        abs(middle[1] - (_interpolated((left, right), middle[0]) or 0))
        for left, middle, right in zip(series, series[1:], series[2:], strict=False)
    )


def _burst(series: _Series, after: int) -> float:
    """Return how many requests between `series[after - 1 : after + 1]` differ from the rates before and after.

    A burst may lie at any moment between two samples: the error of interpolation is up to its size.
    """
    if after == 0:
        return 0
    (left_ns, left), (right_ns, right) = series[after - 1 : after + 1]
    beside = [pair for pair in (series[max(0, after - 2) : after], series[after : after + 2]) if len(pair) == 2]
    rates = [(end - start) / (end_ns - start_ns) for (start_ns, start), (end_ns, end) in beside if start_ns < end_ns]
    return max((abs(right - left - rate * (right_ns - left_ns)) for rate in rates), default=right - left)


def _interpolated(series: _Series, ns: int) -> float | None:
    """Return the value at a moment, on the straight line between the two samples around it."""
    if not series or not series[0][0] <= ns <= series[-1][0]:
        return None
    after = next(index for index, sample in enumerate(series) if sample[0] >= ns)
    if series[after][0] == ns or after == 0:
        return series[after][1]
    (left_ns, left), (right_ns, right) = series[after - 1], series[after]
    return left + (right - left) * (ns - left_ns) / (right_ns - left_ns)
