"""The entries of a slice's maps as bpftrace prints them, short keys as integers, and the bounds of their number."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import NamedTuple, TypeVar

from fleettrace.probes.model import WORD

__all__ = [
    "WORDS",
    "WORDS_MAX",
    "WORDS_SHOWN",
    "Entry",
    "RawSlice",
    "key_of_integers",
    "largest",
    "printed_again",
    "prune",
]

_Shown = TypeVar("_Shown")

_COUNT = 9
"""KeyLayout.words."""
_DIGITS = 20
WORDS_SHOWN = rb"(?:, -?\d{1,%d}){%d}" % (_DIGITS, _COUNT)
"""The integers of one key, each with the separator before it."""
WORDS = re.compile(rb"-?\d{1,%d}(?:, -?\d{1,%d}){%d}" % (_DIGITS, _DIGITS, _COUNT - 1))
WORDS_MAX = _COUNT * (_DIGITS + 3)
_MASK = (1 << 8 * WORD) - 1


class Entry(NamedTuple):
    """One entry of a slice's map."""

    pid: int
    tag: int
    length: int
    """The key's length in bytes, as memcached has it."""
    data: bytes
    requests: int
    long: bool
    """It was in the map of long keys."""


@dataclass(slots=True)
class RawSlice:
    """One slice as printed. `end_ns` is None if the trace was stopped before the slice's end."""

    map: str
    end_ns: int | None
    totals: dict[int, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    complete: bool = field(default=False, compare=False)
    """The program printed it completely, with the largest entries of each map. Otherwise the trace ended early, and it
    has all entries or a part."""
    pruned: bool = field(default=False, compare=False)
    """It has only the largest entries of each map, as many as the program prints of a complete slice."""

    @property
    def empty(self) -> bool:
        """Whether the slice has no requests."""
        return not self.totals and not self.entries


def prune(part: RawSlice, most: int) -> None:
    """Reduce each map of a slice with too many entries to its `most` largest ones."""
    if part.pruned:
        by_map = [[entry for entry in part.entries if entry.long is long] for long in (False, True)]
        part.entries[:] = [entry for one in by_map for entry in nlargest(most, one, key=lambda each: each.requests)]


def largest(entries: Mapping[_Shown, Entry], most: int) -> dict[_Shown, Entry]:
    """Return the `most` largest entries of each map, by their printed form."""
    by_map = [[item for item in entries.items() if item[1].long is long] for long in (False, True)]
    return {shown: entry for one in by_map for shown, entry in nlargest(most, one, key=lambda item: item[1].requests)}


def printed_again(first: RawSlice, again: RawSlice | None) -> RawSlice:
    """Return the slice that bpftrace was printing when it was stopped, and printed `again` unless it had been cleared.

    The first print may be garbled at its end.
    """
    if again is None or again.empty:
        return first
    if again.pruned:
        return RawSlice(first.map, first.end_ns, first.totals | again.totals, again.entries, pruned=True)
    if sum(entry.requests for entry in again.entries) == sum(again.totals.values()):
        return RawSlice(first.map, first.end_ns, again.totals, again.entries)
    both = {(entry[:4], entry.long): entry for entry in (*first.entries, *again.entries)}
    return RawSlice(first.map, first.end_ns, first.totals | again.totals, list(both.values()), pruned=first.pruned)


def key_of_integers(shown: bytes, length: int) -> bytes:
    """Return the key of `length` bytes in these integers: eight bytes each, lowest byte first, 0 behind the key's end.

    The key is empty if all integers are 0: the kernel could not read it. (A key of NULs looks the same.)
    """
    words = [int(word) & _MASK for word in shown.split(b", ")]
    return struct.pack(f"<{_COUNT}Q", *words)[:length] if any(words) else b""
