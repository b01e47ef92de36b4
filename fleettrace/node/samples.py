"""Looks at memcached's own counters and CPU time: how they arrive from a node, and what they say of a span of time.

A look says what was at one moment; the window of a trace begins and ends between two looks. What a counter was there is
interpolated, and how far that may be off is read from the looks themselves: no farther than the looks on either side
allow, and no farther than interpolation misses the looks near by, or a burst stands out among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from fleettrace.node.plausible import MAX_INSTANCES, MAX_INTEGER

__all__ = [
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

_LOOK = re.compile(rb"(\d{1,10}) (\d{1,15}) (\d{1,15}) (\d{1,19}) (\d{1,19}|-)(?: (\d{1,19}|-))?")
_LONGEST = 112
"""Bytes in the longest look; more after a NUL is no look."""
_CENTISECOND_NS = 10_000_000
_SLOW_NS = 400_000_000
"""An answer that took longer says what was counted at a moment that is not known well enough. (bash's take 10 ms; where
a program has to be started for each, up to 200 on a busy node.)"""
_NEAR = 4
"""Looks on either side of an edge that show how steady the traffic is there."""
_TELLING = 4
"""Looks that show it at the least."""
_MOST_SAMPLES = 8192
"""Samples stored of one node, where `_LEAST_EACH` of each process are fewer: 3 MB. A process has some 60, and 4 more
for each second that bpftrace takes to start."""
_LEAST_EACH = 32
"""Samples of each process for which there is room, however many processes there are."""


class Sample(NamedTuple):
    """One memcached at one moment."""

    pid: int
    ns: int
    """Since boot, on the clock of /proc/uptime; to 10 ms."""
    cpu_ns: int | None
    """CPU time it has used, all threads together; None where the kernel does not say."""
    requests: int | None
    """Requests naming one key that it has counted so far; None where it could not be asked."""
    within_ns: int = 0
    """How much earlier or later than `ns` the counter may have been read."""
    read_bytes: int | None = None
    """Bytes that it has read so far, from its clients above all (`rchar` of /proc/PID/io); None where not known."""


class Span(NamedTuple):
    """A least and a greatest number, between which the true one lies."""

    least: int
    greatest: int

    def nearest(self, number: int) -> int:
        """The number of the span that is nearest to `number`."""
        return min(max(number, self.least), self.greatest)


class SampleReader:
    """Takes looks out of a node's standard error, where they stand between NULs among other words."""

    def __init__(self) -> None:
        self._buffer = b""
        self.looks: list[Sample] = []
        self._pids: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """Take the looks in `data`; gives the other words. In linear time."""
        text, position, words = self._buffer + data, 0, bytearray()
        while (opened := text.find(b"\0", position)) >= 0:
            words += text[position:opened]
            position = opened
            closed = text.find(b"\0", opened + 1, opened + 2 + _LONGEST)
            if closed < 0 and len(text) <= opened + 1 + _LONGEST:
                break
            look = _look(text[opened + 1 : closed]) if closed >= 0 else None
            position = opened + 1 if look is None else closed + 1
            if look is not None:
                self._store(look)
        if opened < 0:
            words += text[position:]
            position = len(text)
        self._buffer = text[position:]
        return bytes(words)

    def _store(self, sample: Sample) -> None:
        """Store a sample. Of too many, the newest of each process stay, and fewer the older they are."""
        if sample.pid not in self._pids:
            if len(self._pids) >= MAX_INSTANCES:
                return
            self._pids.add(sample.pid)
        self.looks.append(sample)
        most = max(_MOST_SAMPLES, _LEAST_EACH * len(self._pids))
        if len(self.looks) > most:
            # To half of them: thinning for each new sample would take quadratic time.
            self.looks = _thinned(self.looks, most // 2 // len(self._pids))


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


def _look(text: bytes) -> Sample | None:
    found = _LOOK.fullmatch(text)
    if found is None:
        return None
    before, after, cpu = (int(found[index]) for index in (2, 3, 4))
    taken = (after - before) * _CENTISECOND_NS
    requests = None if found[5] == b"-" or not 0 <= taken <= _SLOW_NS else int(found[5])
    if requests is not None and requests > MAX_INTEGER:
        requests = None
    # The clock's last digit is cut off.
    middle = before * _CENTISECOND_NS + (taken + _CENTISECOND_NS) // 2
    read_bytes = None if found[6] in (None, b"-") else int(found[6])
    return Sample(int(found[1]), middle, cpu or None, requests, (taken + _CENTISECOND_NS) // 2, read_bytes)


def by_process(samples: Iterable[Sample]) -> dict[int, list[Sample]]:
    """Return the samples of each process, by pid."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.pid, []).append(sample)
    return found


def in_order(looks: Iterable[Sample], pid: int, offset_ns: int = 0) -> list[Sample]:
    """One process's looks by time, on a clock that lags `offset_ns` behind."""
    return sorted((look._replace(ns=look.ns - offset_ns) for look in looks if look.pid == pid), key=lambda one: one.ns)


def counted(looks: Sequence[Sample], start_ns: int, end_ns: int) -> Span | None:
    """How many requests memcached counted in a span of time: as closely as its looks, in order, tell.

    None when they do not reach around the span, or when the counter went back: somebody reset it.
    """
    told = [look for look in looks if look.requests is not None]
    first, last = _at(told, start_ns), _at(told, end_ns)
    if first is None or last is None:
        return None
    return Span(max(0, last.least - first.greatest), max(0, last.greatest - first.least))


def surely_counted(looks: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the least number of requests that memcached can have counted in a span of time, without interpolation.

    This is the growth from the first to the last sample that lie in the span for sure. A counter that fell was reset
    (`stats reset`), and counted its new value since. memcached resets one thread after the other, so a sample taken
    meanwhile may hold requests from before: a fallen value counts only where the next sample is not lower. None where
    there are no two such samples.
    """
    inside = _inside(looks, start_ns, end_ns)
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
    """Return what was counted by each sample that lies in the span for sure."""
    return [
        one.requests
        for one in samples
        if one.requests is not None and one.ns - one.within_ns >= start_ns and one.ns + one.within_ns <= end_ns
    ]


def read_between(looks: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the bytes that memcached read between the first and the last sample of a span of time; None as above."""
    inside = [
        look.read_bytes
        for look in looks
        if look.read_bytes is not None and look.ns - look.within_ns >= start_ns and look.ns + look.within_ns <= end_ns
    ]
    return _growth(inside)


def most_counted(looks: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the most requests that memcached can have counted in a span of time, without interpolation.

    This is the growth from the last sample before the span to the first one after it. None where they do not reach
    around the span, or where the counter went back.
    """
    return _growth_around([(look, look.requests) for look in looks], start_ns, end_ns)


def most_read(looks: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Return the most bytes that memcached can have read in a span of time; None as above."""
    return _growth_around([(look, look.read_bytes) for look in looks], start_ns, end_ns)


def _growth_around(samples: Sequence[tuple[Sample, int | None]], start_ns: int, end_ns: int) -> int | None:
    known = [(look, value) for look, value in samples if value is not None]
    before = [index for index, (look, _) in enumerate(known) if look.ns + look.within_ns <= start_ns]
    after = [index for index, (look, _) in enumerate(known) if look.ns - look.within_ns >= end_ns]
    if not before or not after:
        return None
    return _growth([value for _, value in known[before[-1] : after[0] + 1]])


def _growth(values: Sequence[int]) -> int | None:
    if len(values) < 2 or any(later < earlier for earlier, later in pairwise(values)):
        return None
    return values[-1] - values[0]


def cpu_between(looks: Sequence[Sample], start_ns: int, end_ns: int) -> int | None:
    """Nanoseconds of CPU that the process used in a span of time, about; None when its looks, in order, do not tell."""
    series = [(look.ns, look.cpu_ns) for look in looks if look.cpu_ns is not None]
    first, last = _interpolated(series, start_ns), _interpolated(series, end_ns)
    if first is None or last is None or last < first:
        return None
    return round(last - first)


_Series = Sequence[tuple[int, int]]


def _at(told: Sequence[Sample], ns: int) -> Span | None:
    """What the counter was at a moment between two looks."""
    series = [(look.ns, look.requests or 0) for look in told]
    value = _interpolated(series, ns)
    if value is None or any(later[1] < earlier[1] for earlier, later in pairwise(series)):
        return None
    after = next(index for index, look in enumerate(series) if look[0] >= ns)
    around = told[max(0, after - 1) : after + 1]
    late = max(look.within_ns for look in around)
    low = max((look.requests or 0 for look in told if look.ns + look.within_ns <= ns), default=series[0][1])
    high = min((look.requests or 0 for look in told if look.ns - look.within_ns >= ns), default=series[-1][1])
    earlier = _interpolated(series, max(series[0][0], ns - late)) or 0
    later = _interpolated(series, min(series[-1][0], ns + late)) or 0
    near = series[max(0, after - 1 - _NEAR) : after + 1 + _NEAR]
    if len(near) < _TELLING:
        return Span(low, high)
    doubt = max(_roughness(near), _unlikeness(series, after))
    return Span(max(low, int(earlier - doubt)), min(high, int(later + doubt) + 1))


def _roughness(series: _Series) -> float:
    """By how much interpolation misses the looks it passes over."""
    return max(
        abs(middle[1] - (_interpolated((left, right), middle[0]) or 0))
        for left, middle, right in zip(series, series[1:], series[2:], strict=False)
    )


def _unlikeness(series: _Series, after: int) -> float:
    """By how much the looks before and after `series[after - 1 : after + 1]` miss what was counted between these two.

    A burst may have come at any moment between two looks: interpolation is off by as much as all of it.
    """
    if after == 0:
        return 0
    (left_ns, left), (right_ns, right) = series[after - 1 : after + 1]
    beside = [pair for pair in (series[max(0, after - 2) : after], series[after : after + 2]) if len(pair) == 2]
    rates = [(end - start) / (end_ns - start_ns) for (start_ns, start), (end_ns, end) in beside if start_ns < end_ns]
    return max((abs(right - left - rate * (right_ns - left_ns)) for rate in rates), default=right - left)


def _interpolated(series: _Series, ns: int) -> float | None:
    """The value at a moment, on the straight line between the two looks around it."""
    if not series or not series[0][0] <= ns <= series[-1][0]:
        return None
    after = next(index for index, look in enumerate(series) if look[0] >= ns)
    if series[after][0] == ns or after == 0:
        return series[after][1]
    (left_ns, left), (right_ns, right) = series[after - 1], series[after]
    return left + (right - left) * (ns - left_ns) / (right_ns - left_ns)
