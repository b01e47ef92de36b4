"""A key's timeline over the window: is it steady, did it burst, or did it begin late - and since when?

A timeline has the requests of each bucket of time. What counts is a key's part of the fleet's traffic in a bucket, so
that hosts which began a moment later, or a last bucket that was cut short, do not look like a change of the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import NamedTuple

__all__ = ["Trend", "TrendKind", "sparkline", "trend_of"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*%#"

_MIN_BUCKETS = 5
"""Fewer say nothing about a timeline."""

_MIN_EXCESS = 20
"""Requests beyond the expected ones under which a change may be chance, however large it is by proportion."""

_SIGMAS = 6
"""Standard deviations (of a Poisson count) that a change has to stand out by: thousands of keys are looked at."""

_LATE_PART = 3
"""`late` means: began in the last third."""

_LATE_BEFORE = 0.2
"""A late key's part of the traffic before it began, at most this part of what it had after."""

_BURST = 3.0
"""A bucket with this many times the key's usual part of the traffic is a burst."""


class TrendKind(StrEnum):
    """What is odd about a timeline."""

    LATE = "late"
    BURST = "burst"


class Trend(NamedTuple):
    """Something odd in a timeline, and when it began: seconds from the start of the trace."""

    kind: TrendKind
    at_s: float


def trend_of(timeline: Sequence[int], fleet: Sequence[int], bucket_s: float) -> Trend | None:
    """What is odd about a key's `timeline`, given the whole fleet's; None when it is steady or cannot be told."""
    buckets = [index for index, total in enumerate(fleet) if total > 0 and index < len(timeline)]
    if len(buckets) < _MIN_BUCKETS:
        return None
    parts = [timeline[index] / fleet[index] for index in buckets]
    counts = [timeline[index] for index in buckets]
    totals = [fleet[index] for index in buckets]
    late = _late(counts, totals)
    if late is not None:
        return Trend(TrendKind.LATE, buckets[late] * bucket_s)
    burst = _burst(counts, totals, parts)
    return None if burst is None else Trend(TrendKind.BURST, buckets[burst] * bucket_s)


def _late(counts: Sequence[int], totals: Sequence[int]) -> int | None:
    """The position where a late key began: nearly nothing before the last third, and going on to the end."""
    begin = len(counts) - len(counts) // _LATE_PART
    before = sum(counts[:begin]) / sum(totals[:begin])
    after = sum(counts[begin:]) / sum(totals[begin:])
    expected = before * sum(totals[begin:])
    if before > _LATE_BEFORE * after or not _stands_out(sum(counts[begin:]), expected):
        return None
    first = next(index for index in range(begin, len(counts)) if counts[index] / totals[index] >= after / 2)
    going_on = counts[-1] / totals[-1] >= after / 4
    # One bucket alone is a burst, unless it is the last one: then nobody knows whether it goes on.
    return first if going_on else None


def _burst(counts: Sequence[int], totals: Sequence[int], parts: Sequence[float]) -> int | None:
    """The first position of the key's highest burst."""
    usual = median(parts)
    peak = max(range(len(parts)), key=parts.__getitem__)
    if parts[peak] < _BURST * usual or not _stands_out(counts[peak], usual * totals[peak]):
        return None
    while peak > 0 and parts[peak - 1] >= max(_BURST * usual, parts[peak] / 2):
        peak -= 1
    return peak


def _stands_out(count: int, expected: float) -> bool:
    excess = count - expected
    return excess >= _MIN_EXCESS and excess >= _SIGMAS * sqrt(expected + 1)


def sparkline(timeline: Sequence[int], cells: int, *, ascii_only: bool = False) -> str:
    """The timeline in at most `cells` characters, from nothing (lowest) to its own highest bucket.

    A timeline longer than that is drawn by the highest bucket of each cell, so that no burst is smoothed away.
    """
    if not timeline or cells < 1:
        return ""
    width = min(cells, len(timeline))
    edges = [index * len(timeline) // width for index in range(width + 1)]
    highest = [max(timeline[start:end]) for start, end in pairwise(edges)]
    levels = _ASCII if ascii_only else _BLOCKS
    top = max(highest)
    if top <= 0:
        return levels[0] * width
    # Rounded up: only a bucket with nothing in it is drawn as the lowest.
    return "".join(levels[-(-value * (len(levels) - 1) // top)] for value in highest)
