"""From what the kernel's map held over one slice to a summary whose bounds hold.

A slice's map has one entry per (key, tag), where a tag is the kind of request. Only the largest entries of the map
are printed, and a full map takes no new entry: what both hide is bounded here, from the exact total. A slice may have
two maps, for short and for long keys; every key belongs into one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key

__all__ = ["MapLimits", "SliceCounts", "SliceSpread", "add_slice", "spread_over"]


@dataclass(frozen=True, slots=True)
class MapLimits:
    """What bounds the kernel's map of one slice."""

    capacity: int
    """Entries the map takes; further ones are dropped by the kernel, first come, first kept."""
    printed: int
    """Entries printed at most, the largest ones."""
    tags: int
    """Tags that one key can have at most, and so entries that one key can fill."""


@dataclass(slots=True)
class SliceCounts:
    """One instance's part of one slice, as printed: counts by (key, tag)."""

    index: int
    """Position of the slice in the trace, from 0."""
    start_ns: int
    end_ns: int
    """Nanoseconds of the node's monotonic clock."""
    total: int
    """Requests in the slice, from the scalar: exact."""
    counts: dict[tuple[Key, int], int] = field(default_factory=dict)
    map_entries: int = 0
    """Entries that the map printed, those of other instances included; of two maps, the one with more."""
    map_total: int = 0
    """Requests of every instance that shares the map."""
    map_listed: int = 0
    """Requests in all the printed entries."""
    smallest: int = 0
    """The smallest entry printed by a map that was cut off, of any instance; of two such maps, the larger."""
    unknown: int = 0
    """Requests left out of `total` because they may not be of a kind that is wanted."""
    everything: bool = False
    """The map was printed whole (a trace stopped early prints without a limit)."""


_SLIVER = 50
"""A slice that reaches into a bucket with less than this part (a fiftieth) of the bucket's length is left out of it."""


class SliceSpread(NamedTuple):
    """The buckets of a timeline that a slice lies in: the first one, and how much of the slice is in each."""

    first: int
    weights: tuple[int, ...] = (1,)

    def parts(self, count: int) -> list[int]:
        """Return the part of a count that each bucket gets: whole numbers in proportion, which add up to the count."""
        whole = sum(self.weights)
        borders = [(count * until + whole // 2) // whole for until in accumulate(self.weights, initial=0)]
        return [end - start for start, end in pairwise(borders)]


def spread_over(start_ns: int, end_ns: int, bucket_ns: int, buckets: int) -> SliceSpread:
    """Return how a slice lies over a timeline of `buckets` buckets; what is behind its end belongs to the last one.

    Times are since the timeline's start.
    """
    last = max(0, buckets - 1)
    first = min(max(0, start_ns) // bucket_ns, last)
    weights = [
        min(end_ns, (index + 1) * bucket_ns) - max(start_ns, index * bucket_ns)
        for index in range(first, min(max(start_ns, end_ns - 1) // bucket_ns, last) + 1)
    ]
    while len(weights) > 1 and weights[-1] * _SLIVER < bucket_ns:
        weights.pop()
    while len(weights) > 1 and weights[0] * _SLIVER < bucket_ns:
        weights.pop(0)
        first += 1
    return SliceSpread(first, tuple(weights)) if len(weights) > 1 else SliceSpread(first)


def hidden_bounds(part: SliceCounts, limits: MapLimits) -> tuple[int, int]:
    """The most requests of this instance (in one entry that was not printed, in all that a full map dropped).

    What was printed and what was counted differ by the remainder, and nothing unseen can exceed that. An entry that the
    cut left out is no larger than the smallest that was printed. A full map holds `capacity` entries with at least one
    request each: what is hidden beyond that, and nothing else, can have been dropped.
    """
    remainder = part.total - sum(part.counts.values())
    if remainder <= 0:
        return 0, 0
    if part.everything or part.map_entries < limits.printed:
        return 0, remainder
    hidden = part.map_total - part.map_listed
    dropped = hidden - (limits.capacity - part.map_entries)
    return min(remainder, part.smallest), min(remainder, max(0, dropped))


def add_slice(
    into: Summary, part: SliceCounts, limits: MapLimits, spread: SliceSpread, op_of: Callable[[int], str | None] | None
) -> None:
    """Add one instance's slice to a summary, over whose timeline the slice's counts are spread.

    `op_of` names the op that a tag stands for, None for a tag it does not know; without it, ops are unknown. To add a
    slice gives what to add its own summary would, in half the time.
    """
    entry, dropped = hidden_bounds(part, limits)
    absent = min(max(0, part.total - sum(part.counts.values())), entry * limits.tags + dropped)
    into.total += part.total
    into.absent += absent
    _spread_in(into.timeline, spread, part.total)
    keys, bucket, alone = into.keys, spread.first, len(spread.weights) == 1
    names: dict[int, str | None] = {} if op_of is None else {tag: op_of(tag) for tag in {tag for _, tag in part.counts}}
    for (key, tag), count in part.counts.items():
        op = names.get(tag)
        known = keys.get(key)
        if known is None:
            timeline = [*([0] * bucket), *([count] if alone else spread.parts(count))]
            keys[key] = KeyCount(count, ops=None if op is None else {op: count}, timeline=timeline)
            continue
        known.requests += count
        timeline = known.timeline
        if not alone:
            _spread_in(timeline, spread, count)
        elif len(timeline) == bucket:
            timeline.append(count)
        else:
            _count_in(timeline, bucket, count)
        ops = known.ops
        if op is None or ops is None:
            known.ops = None
        else:
            ops[op] = ops.get(op, 0) + count
        known.misses = known.value_bytes = None
    if absent:
        for key, listed in Counter(key for key, _ in part.counts).items():
            # Its other tags' entries may be among those that were not printed.
            others = limits.tags - min(listed, limits.tags)
            keys[key].covered += absent - (min(absent, entry * others + dropped) if others else 0)


def _spread_in(timeline: list[int], spread: SliceSpread, count: int) -> None:
    for bucket, part in enumerate(spread.parts(count), spread.first):
        _count_in(timeline, bucket, part)


def _count_in(timeline: list[int], bucket: int, count: int) -> None:
    missing = bucket - len(timeline)
    if missing < 0:
        timeline[bucket] += count
    else:
        timeline.extend([0] * missing)
        timeline.append(count)
