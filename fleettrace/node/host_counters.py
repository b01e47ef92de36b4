"""Compute memcached's own stats over the window of a trace from the samples of one instance. Pure.

memcached's numbers may be false. Here they are only bounded: a number above 64 bits, a counter that went back, and one
that memcached does not report are unknown, each with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fleettrace.node.plausible import MAX_INTEGER
from fleettrace.node.samples import COUNTERS, ClassSample, Sample
from fleettrace.summary.host_stats import GAUGES, GROWTHS, MOST_CLASS, EvictingClass, HostStats, unknown_stats

__all__ = ["NOT_ASKED", "host_stats"]

NOT_ASKED = "memcached was not asked: it listens on no TCP port that the node can reach"
"""The reason where an instance has no endpoint that answers."""
_NO_ANSWER = "memcached gave fewer than two answers to `stats` around the window (TLS, SASL, -Y, or a short window)"
_ABSENT = "memcached does not report it"
_WENT_BACK = "the counter went back, so it was reset"
_TOO_LARGE = "memcached reported no number of 63 bits"
_NO_CLASSES = "memcached did not answer `stats items` and `stats slabs` both before and after the window"
_NEW_CLASS = "a class appeared in between, and how much it had evicted before is unknown"
_NO_EVICTION = "nothing was evicted"
_SOURCES = {"new_connections": "total_connections", "memory_used": "bytes", "memory_limit": "limit_maxbytes"}
"""memcached's name of a counter, where a field has another one."""


def host_stats(
    samples: Sequence[Sample], classes: Sequence[ClassSample], start_ns: int, end_ns: int, *, asked: bool = True
) -> HostStats:
    """Return the stats of one instance over a span of time, from its samples in order of time.

    The span becomes the one between the two answers nearest to its ends from outside, or from inside where there is
    none outside.
    """
    answered = [sample for sample in samples if sample.counters]
    before = [index for index, sample in enumerate(answered) if sample.ns <= start_ns]
    after = [index for index, sample in enumerate(answered) if sample.ns >= end_ns]
    span = answered[before[-1] if before else 0 : after[0] + 1 if after else len(answered)]
    if len(span) < 2 or span[-1].ns <= span[0].ns:
        return unknown_stats(_NO_ANSWER if asked else NOT_ASKED)
    series = [dict(zip(COUNTERS, sample.counters.split(b","), strict=True)) for sample in span]
    values: dict[str, int | None] = {}
    unknown: dict[str, str] = {}
    for name in (*GROWTHS, *GAUGES):
        texts = [one[_SOURCES.get(name, name)] for one in series]
        value = _growth(texts) if name in GROWTHS else _number(texts[-1])
        values[name] = None if isinstance(value, str) else value
        if isinstance(value, str):
            unknown[name] = value
    evicting = _evicting_class(classes)
    if isinstance(evicting, str):
        unknown["evicting_class"] = evicting
    seconds = (span[-1].ns - span[0].ns) / 1e9
    return HostStats(
        seconds=seconds,
        **values,
        evicting_class=None if isinstance(evicting, str) else evicting,
        unknown=unknown,
    )


def _number(text: bytes) -> int | str:
    """Return a number, or the reason why it is unknown."""
    if text == b"-":
        return _ABSENT
    return number if (number := int(text)) <= MAX_INTEGER else _TOO_LARGE


def _growth(texts: Sequence[bytes]) -> int | str:
    """Return how much a counter grew, or the reason why that is unknown."""
    numbers: list[int] = []
    for text in texts:
        number = _number(text)
        if isinstance(number, str):
            return number
        numbers.append(number)
    if any(later < earlier for earlier, later in pairwise(numbers)):
        return _WENT_BACK
    return numbers[-1] - numbers[0]


def _evicting_class(samples: Sequence[ClassSample]) -> EvictingClass | str:
    """Return the class that evicted most between the first and the last sample, or the reason why it is unknown."""
    if len(samples) < 2 or samples[-1].ns <= samples[0].ns:
        return _NO_CLASSES
    first, last = samples[0], samples[-1]
    listed = sum(evictions for evictions, _ in first.classes.values())
    grown: dict[int, int] = {}
    for number, (evictions, _) in last.classes.items():
        earlier = first.classes.get(number)
        # memcached lists no class without items; where the listed ones add up, the others had evicted nothing.
        if earlier is None and first.evictions != listed:
            return _NEW_CLASS
        grown[number] = evictions - (earlier[0] if earlier else 0)
        if grown[number] < 0:
            return _WENT_BACK
        if evictions > MAX_INTEGER or number > MOST_CLASS:
            return _TOO_LARGE
    total = sum(grown.values())
    if not total:
        return _NO_EVICTION
    if first.evictions is not None and last.evictions is not None:
        # A class that has lost its last item is not listed any more.
        total = max(total, last.evictions - first.evictions)
    number = max(grown, key=lambda one: (grown[one], -one))
    seconds = (last.ns - first.ns) / 1e9
    return EvictingClass(number, grown[number], grown[number] / total, seconds, last.classes[number][1])
