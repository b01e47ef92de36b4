"""The entries of a slice's maps as bpftrace printed them, and how many of them are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import NamedTuple, TypeVar

__all__ = ["Entry", "RawSlice", "largest", "printed_again", "prune"]

_Shown = TypeVar("_Shown")


class Entry(NamedTuple):
    """One entry of a slice's map."""

    pid: int
    tag: int
    length: int
    """What memcached says of the key's length, in bytes."""
    data: bytes
    requests: int
    long: bool
    """Whether it stood in the map of long keys."""


@dataclass(slots=True)
class RawSlice:
    """One slice as printed. `end_ns` is None when the trace was stopped before the slice's end."""

    map: str
    end_ns: int | None
    totals: dict[int, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    whole: bool = field(default=False, compare=False)
    """The program printed it to its end, the largest entries of each map; else it is what was printed at an early end,
    which is all of it, or a part."""
    pruned: bool = field(default=False, compare=False)
    """Only the largest entries of each map were kept, as many as the program itself prints of a complete slice."""

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return not self.totals and not self.entries


def prune(part: RawSlice, most: int) -> None:
    """Keep no more than the `most` largest entries of each map of a slice that had too many to be kept."""
    if part.pruned:
        by_map = [[entry for entry in part.entries if entry.long is long] for long in (False, True)]
        part.entries[:] = [entry for one in by_map for entry in nlargest(most, one, key=lambda each: each.requests)]


def largest(entries: Mapping[_Shown, Entry], most: int) -> dict[_Shown, Entry]:
    """Return the `most` largest entries of each map, by how they were shown."""
    by_map = [[item for item in entries.items() if item[1].long is long] for long in (False, True)]
    return {shown: entry for one in by_map for shown, entry in nlargest(most, one, key=lambda item: item[1].requests)}


def printed_again(first: RawSlice, again: RawSlice | None) -> RawSlice:
    """A slice that was being printed when bpftrace was stopped, and then `again`, unless it had been cleared.

    What came the first time may be garbled where it broke off.
    """
    if again is None or again.empty:
        return first
    if again.pruned:
        return RawSlice(first.map, first.end_ns, first.totals | again.totals, again.entries, pruned=True)
    if sum(entry.requests for entry in again.entries) == sum(again.totals.values()):
        return RawSlice(first.map, first.end_ns, again.totals, again.entries)
    both = {(entry[:4], entry.long): entry for entry in (*first.entries, *again.entries)}
    return RawSlice(first.map, first.end_ns, first.totals | again.totals, list(both.values()), pruned=first.pruned)
