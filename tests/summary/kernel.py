"""A model of the kernel's map and of bpftrace's output, with the true counts.

The map takes entries until it is full; the scalar counters count everything; bpftrace prints the largest entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fleettrace.summary.counts import Summary
from fleettrace.summary.key import Key
from fleettrace.summary.slices import MapLimits, SliceCounts, SliceSpread, Tally

__all__ = ["Request", "Slice", "itself", "run_slice", "summarise"]

Request = tuple[int, int, int]
"""(instance, key number, tag)."""
Name = tuple[Key, int]
"""A key and a tag."""


@dataclass(frozen=True)
class Slice:
    """The printed part of a slice for each instance, and the true counts."""

    parts: dict[int, SliceCounts[Name]]
    truth: dict[int, Counter[Key]]


def itself(name: Name) -> Name:
    """Return the key and the tag for which a name of this model stands."""
    return name


def key(number: int) -> Key:
    """Return a key by number."""
    return Key.whole(b"k%d" % number)


def run_slice(requests: list[Request], limits: MapLimits, instances: int, *, everything: bool = False) -> Slice:
    """Return one slice of these requests, in this order, with one map for all instances."""
    held: Counter[Request] = Counter()
    truth: dict[int, Counter[Key]] = {instance: Counter() for instance in range(instances)}
    for request in requests:
        truth[request[0]][key(request[1])] += 1
        if request in held or len(held) < limits.capacity:
            held[request] += 1
    printed = held.most_common(None if everything else limits.printed)
    parts = {}
    for instance in range(instances):
        part: SliceCounts[Name] = SliceCounts(0, 0, 1_000_000_000, truth[instance].total(), everything=everything)
        part.counts = {(key(number), tag): count for (owner, number, tag), count in printed if owner == instance}
        part.map_entries = len(printed)
        part.map_total = len(requests)
        part.map_listed = sum(count for _, count in printed)
        part.smallest = min((count for _, count in printed), default=0)
        parts[instance] = part
    return Slice(parts, truth)


def summarise(
    part: SliceCounts[Name], limits: MapLimits, bucket: int, op_of: Callable[[int], str | None] | None
) -> Summary:
    """Return the slice's summary."""
    summary = Summary()
    Tally(summary, limits, itself, op_of).add(part, SliceSpread(bucket))
    return summary
