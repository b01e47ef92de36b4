"""The entries of a slice as bpftrace prints them, by label, and the bounds of their number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from operator import itemgetter

from fleettrace.node.labels import Entry, Labels

__all__ = ["Entry", "RawSlice", "largest", "printed_again"]


@dataclass(slots=True)
class RawSlice:
    """One slice as printed. `end_ns` is None if the trace was stopped before the slice's end."""

    map: str
    end_ns: int | None
    labels: Labels = field(compare=False, repr=False)
    """Reads the labels of the entries."""
    totals: dict[int, int] = field(default_factory=dict)
    short: dict[bytes, int] = field(default_factory=dict)
    """The requests of each entry with a short key, by label."""
    long: dict[bytes, int] = field(default_factory=dict)
    """And of each with a long key."""
    complete: bool = field(default=False, compare=False)
    """The program printed it completely, with the largest entries of each map. Otherwise the trace ended early, and it
    has all entries or a part."""
    pruned: bool = field(default=False, compare=False)
    """It has only the largest entries of each map, as many as the program prints of a complete slice."""

    @property
    def empty(self) -> bool:
        """Whether the slice has no requests."""
        return not (self.totals or self.short or self.long)

    @property
    def entries(self) -> list[Entry]:
        """The entries, those with short keys first."""
        return [self.labels.entry(*item) for item in (*self.short.items(), *self.long.items())]

    def prune(self, most: int) -> None:
        """Reduce each map of a slice with too many entries to its `most` largest ones."""
        if self.pruned:
            self.short, self.long = largest(self.short, most), largest(self.long, most)


def largest(counts: Mapping[bytes, int], most: int) -> dict[bytes, int]:
    """Return the `most` largest entries of a map; of ties, the earlier ones."""
    return dict(nlargest(most, counts.items(), key=itemgetter(1)))


def printed_again(first: RawSlice, again: RawSlice | None) -> RawSlice:
    """Return the slice that bpftrace was printing when it was stopped, and printed `again` unless it had been cleared.

    The first print may be garbled at its end.
    """
    if again is None or again.empty:
        return first
    made = RawSlice(first.map, first.end_ns, again.labels, again.totals, again.short, again.long)
    if again.pruned:
        made.totals, made.pruned = first.totals | again.totals, True
    elif sum(again.short.values()) + sum(again.long.values()) != sum(again.totals.values()):
        made.totals, made.pruned = first.totals | again.totals, first.pruned
        made.short, made.long = first.short | again.short, first.long | again.long
    return made
