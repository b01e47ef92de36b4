"""Turn the printed kernel map of one slice into a summary with valid bounds.

A slice's map has one entry per (key, tag), where a tag is the kind of request. bpftrace prints only the largest
entries, and a full map takes no new one: the requests that both omit are bounded here, from the exact total. A slice
may have two maps, for short and for long keys; every key belongs to one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key

__all__ = ["MapLimits", "SliceCounts", "SliceSpread", "Tally", "spread_over"]

Name = TypeVar("Name")
_MOST_NAMES = 4096
"""Names that a tally stores beyond those of one slice."""


@dataclass(frozen=True, slots=True)
class MapLimits:
    """The limits of the kernel's map of one slice."""

    capacity: int
    """Entries that the map holds; the kernel drops further ones."""
    printed: int
    """The most entries that bpftrace prints, the largest ones."""
    tags: int
    """The most tags, and so map entries, that one key can have."""


@dataclass(slots=True)
class SliceCounts(Generic[Name]):
    """One instance's part of one slice, as printed: counts by a name that stands for a key and a tag."""

    index: int
    """Position of the slice in the trace, from 0."""
    start_ns: int
    end_ns: int
    """Nanoseconds of the node's monotonic clock."""
    total: int
    """Requests in the slice, from the scalar counter: exact."""
    counts: dict[Name, int] = field(default_factory=dict)
    map_entries: int = 0
    """Printed entries, including those of other instances; of two maps, the larger number."""
    map_total: int = 0
    """Requests of all instances that share the map."""
    map_listed: int = 0
    """Requests in all the printed entries."""
    smallest: int = 0
    """The smallest printed entry, of any instance, when not all were printed; of two such maps, the larger."""
    unknown: int = 0
    """Requests not in `total` because they may not be of a requested kind."""
    everything: bool = False
    """All entries were printed (a trace that is stopped early prints without a limit)."""


_SLIVER = 50
"""A slice that overlaps a bucket by less than this fraction (1/50) of the bucket adds nothing to it."""


class SliceSpread(NamedTuple):
    """The buckets of a timeline that a slice overlaps: the first one, and the overlap with each."""

    first: int
    weights: tuple[int, ...] = (1,)

    def parts(self, count: int) -> list[int]:
        """Return the share of a count for each bucket: integers in proportion to the overlap, with `count` as their
        sum."""
        total = sum(self.weights)
        borders = [(count * until + total // 2) // total for until in accumulate(self.weights, initial=0)]
        return [end - start for start, end in pairwise(borders)]


def spread_over(start_ns: int, end_ns: int, bucket_ns: int, buckets: int) -> SliceSpread:
    """Return how a slice overlaps a timeline of `buckets` buckets. Time past its end belongs to the last bucket.

    Times count from the timeline's start.
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


def unprinted_bounds(part: SliceCounts[Name], limits: MapLimits) -> tuple[int, int]:
    """Return the most requests of this instance in one entry that was not printed, and in all that a full map dropped.

    Neither can exceed the remainder, which is the counted minus the printed requests. An entry that was not printed is
    at most as large as the smallest printed one. A full map holds `capacity` entries of at least one request each: only
    the requests that were not printed and do not fit in these can have been dropped.
    """
    remainder = part.total - sum(part.counts.values())
    if remainder <= 0:
        return 0, 0
    if part.everything or part.map_entries < limits.printed:
        return 0, remainder
    not_printed = part.map_total - part.map_listed
    dropped = not_printed - (limits.capacity - part.map_entries)
    return min(remainder, part.smallest), min(remainder, max(0, dropped))


_Slot = tuple[KeyCount, list[int], dict[str, int] | None, str]
"""A key's count, its timeline and ops, and the op of the requests to add."""


class Tally(Generic[Name]):
    """Adds one instance's slices to a summary, with the entries under names that the caller chose.

    `named` returns the key and the tag of a name; it is called once for a name that is in many slices. `op_of` returns
    the op for a tag, None for an unknown tag; without it, ops are unknown. The result equals merging a summary of each
    slice, in less than half the time.
    """

    def __init__(
        self,
        into: Summary,
        limits: MapLimits,
        named: Callable[[Name], tuple[Key, int]],
        op_of: Callable[[int], str | None] | None,
    ) -> None:
        self.summary = into
        self._limits = limits
        self._named = named
        self._op_of = op_of
        self._forget()

    def _forget(self) -> None:
        self._keys = self.summary.keys
        self._counts: dict[Name, _Slot] = {}
        """Where the requests of a name are added."""
        self._first: dict[Key, Name] = {}
        self._shared: set[Name] = set()
        """Names of keys that have several."""

    def add(self, part: SliceCounts[Name], spread: SliceSpread) -> None:
        """Add a slice, and spread its counts over the summary's timeline."""
        into, limits = self.summary, self._limits
        entry, dropped = unprinted_bounds(part, limits)
        absent = min(max(0, part.total - sum(part.counts.values())), entry * limits.tags + dropped)
        into.total += part.total
        into.absent += absent
        _spread_in(into.timeline, spread, part.total)
        if into.keys is not self._keys or len(self._counts) > _MOST_NAMES:
            self._forget()
        self._count(part.counts, spread)
        if absent:
            # Entries of the key's other tags may be among those not printed.
            others = [0, *(min(absent, entry * tags + dropped) for tags in range(1, limits.tags))]
            self._cover(part.counts, [absent - most for most in others])

    def _count(self, counts: Mapping[Name, int], spread: SliceSpread) -> None:
        known, (bucket, weights) = self._counts, spread
        buckets, total = len(weights), sum(weights)
        weight, half = weights[0], total // 2
        for name, count in counts.items():
            slot = known.get(name)
            if slot is None:
                slot = known[name] = self._slot(name)
            key_count, timeline, ops, op = slot
            key_count.requests += count
            if ops is not None:
                ops[op] += count
            # A slice overlaps one bucket or two; this is _spread_in without the calls.
            size = len(timeline) - bucket
            if buckets == 1:
                if size == 0:
                    timeline.append(count)
                else:
                    _count_in(timeline, bucket, count)
            elif buckets == 2 and 0 <= size < 2:
                begin = (count * weight + half) // total
                if size == 0:
                    timeline.append(begin)
                else:
                    timeline[bucket] += begin
                timeline.append(count - begin)
            else:
                _spread_in(timeline, spread, count)

    def _slot(self, name: Name) -> _Slot:
        key, tag = self._named(name)
        op = None if self._op_of is None else self._op_of(tag)
        first = self._first.setdefault(key, name)
        if first is not name:
            self._shared |= {first, name}
        count = self._keys.get(key)
        if count is None:
            count = self._keys[key] = KeyCount(ops={})
        if op is None or count.ops is None:
            count.ops = None
            return count, count.timeline, None, ""
        count.ops.setdefault(op, 0)
        return count, count.timeline, count.ops, op

    def _cover(self, counts: Mapping[Name, int], covered: list[int]) -> None:
        """Add to `covered` of each listed key, by the number of its tags that the slice does not list."""
        known, once = self._counts, covered[-1]
        if once:
            for name in counts:
                known[name][0].covered += once
        if shared := self._shared & counts.keys():
            names = Counter(self._named(name)[0] for name in shared)
            tags = Counter(key for key, _ in {self._named(name) for name in shared})
            for key, listed in tags.items():
                self._keys[key].covered += covered[max(0, len(covered) - listed)] - names[key] * once


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
