"""Detect bursts and late starts in a key's timeline, and draw timelines.

A timeline has the requests of each time bucket. The detection uses the key's share of the fleet's traffic in a bucket,
so that hosts that begin later, or a short last bucket, do not look like a change of the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

__all__ = ["Trend", "TrendKind", "sparkline", "trend_of"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*%#"

_MIN_BUCKETS = 5
"""With fewer buckets, no trend is detected."""

_MIN_EXCESS = 20
"""A change by fewer requests can be chance, even if it is large in proportion."""

_SIGMAS = 6
"""The smallest change in standard deviations of a Poisson count. It is large because thousands of keys are tested."""

_LATE_PART = 3
"""`late` means that the key began in the last third (1 / 3) of the window."""

_LATE_BEFORE = 0.2
"""A late key's share of the traffic before it began is at most this part of its share after."""

_BURST = 3.0
"""A bucket with this many times the key's usual share of the traffic is a burst."""


class TrendKind(StrEnum):
    """Kinds of change in a timeline."""

    LATE = "late"
    BURST = "burst"


class Trend(NamedTuple):
    """A change in a timeline, and its start in seconds from the start of the trace."""

    kind: TrendKind
    at_s: float


def trend_of(timeline: Sequence[int], fleet: Sequence[int], bucket_s: float) -> Trend | None:
    """Return the change in a key's `timeline`, given the fleet's; None when it is steady or too short."""
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
    """Return the bucket where a late key began: nearly no requests before the last third, and some until the end."""
    begin = len(counts) - len(counts) // _LATE_PART
    before = sum(counts[:begin]) / sum(totals[:begin])
    after = sum(counts[begin:]) / sum(totals[begin:])
    expected = before * sum(totals[begin:])
    if before > _LATE_BEFORE * after or not _stands_out(sum(counts[begin:]), expected):
        return None
    first = next(index for index in range(begin, len(counts)) if counts[index] / totals[index] >= after / 2)
    going_on = counts[-1] / totals[-1] >= after / 4
    # A single bucket is a burst, unless it is the last one, after which the key may continue.
    return first if going_on else None


def _burst(counts: Sequence[int], totals: Sequence[int], parts: Sequence[float]) -> int | None:
    """Return the first bucket of the key's highest burst."""
    ordered, half = sorted(parts), len(parts) // 2
    usual = (ordered[half] + ordered[~half]) / 2
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
    """Return the timeline in at most `cells` characters, scaled to its highest bucket.

    Each cell shows its highest bucket, so that no burst is smoothed away.
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
    # Rounded up: only an empty bucket gets the lowest character.
    return "".join(levels[-(-value * (len(levels) - 1) // top)] for value in highest)
