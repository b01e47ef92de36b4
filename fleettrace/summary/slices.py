"""From what the kernel's map held over one slice to a summary whose bounds hold.

A slice's map has one entry per (key, tag), where a tag is the kind of request. Only the largest entries of the map
are printed, and a full map takes no new entry: what both hide is bounded here, from the exact total. A slice may have
two maps, for short and for long keys; every key belongs into one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key

__all__ = ["MapLimits", "SliceCounts", "add_slice"]


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
    into: Summary, part: SliceCounts, limits: MapLimits, bucket: int, op_of: Callable[[int], str | None] | None
) -> None:
    """Add one instance's slice to a summary, whose course gets the slice's counts in `bucket`.

    `op_of` names the op that a tag stands for, None for a tag it does not know; without it, ops are unknown. To add a
    slice gives what to add its own summary would, in half the time.
    """
    entry, dropped = hidden_bounds(part, limits)
    absent = min(max(0, part.total - sum(part.counts.values())), entry * limits.tags + dropped)
    into.total += part.total
    into.absent += absent
    _count_in(into.course, bucket, part.total)
    keys = into.keys
    names: dict[int, str | None] = {} if op_of is None else {tag: op_of(tag) for tag in {tag for _, tag in part.counts}}
    for (key, tag), count in part.counts.items():
        op = names.get(tag)
        known = keys.get(key)
        if known is None:
            keys[key] = KeyCount(count, ops=None if op is None else {op: count}, course=[*([0] * bucket), count])
            continue
        known.requests += count
        course = known.course
        if len(course) == bucket:
            course.append(count)
        else:
            _count_in(course, bucket, count)
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


def _count_in(course: list[int], bucket: int, count: int) -> None:
    missing = bucket - len(course)
    if missing < 0:
        course[bucket] += count
    else:
        course.extend([0] * missing)
        course.append(count)
