"""A mergeable summary of requests by key, with bounds that hold.

A summary holds, for one window or several merged ones: the number of requests (`total`, exact), the requests of each
listed key (`requests`, a lower bound), and the most requests that any key that is *not* listed can have had (`absent`).
For a listed key, `covered` is the part of `absent` that does not apply to it, because it was listed in the parts from
which that came. So, for every key k

    lower(k) = requests(k)                  (0 when k is not listed)
    upper(k) = requests(k) + absent - covered(k)

and both hold under addition. A slice, an instance, a host and a fleet are therefore the same kind of value: the bounds
of the whole are the sums of the bounds of its parts, in any order of merging.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import add, neg

from fleettrace.summary.key import Key

__all__ = ["OPS", "KeyCount", "Summary", "add_known", "add_timelines", "truncated"]

OPS = ("get", "set", "delete", "arith", "touch", "other")
"""Kinds of request. `set` is every store (set, add, replace, append, prepend, cas), `arith` incr and decr."""


def add_known(a: int | None, b: int | None) -> int | None:
    """Return the sum of two numbers; None (unknown) when either is, never 0."""
    return None if a is None or b is None else a + b


def add_timelines(a: list[int], b: Sequence[int]) -> list[int]:
    """Add timeline `b` into `a`, bucket by bucket; the shorter one counts as zero past its end. Returns `a`."""
    common = min(len(a), len(b))
    a[:common] = map(add, a, b)
    a.extend(b[common:])
    return a


def truncated(keys: Mapping[Key, KeyCount], most: int) -> tuple[dict[Key, KeyCount], int]:
    """Return the `most` keys with the most requests (of ties the earlier ones), and the increase of `absent`.

    `absent` grows by the largest `excess` among the removed keys, and `covered` of the remaining keys grows by as much:
    their upper bounds do not change.
    """
    ordered = sorted((count.requests for count in keys.values()), reverse=True)
    least = ordered[most - 1]
    ties = most - bisect_left(ordered, -least, key=neg)
    remaining: dict[Key, KeyCount] = {}
    more = 0
    for key, count in keys.items():
        if count.requests > least:
            remaining[key] = count
        elif count.requests == least and ties:
            remaining[key] = count
            ties -= 1
        else:
            more = max(more, count.excess)
    if more:
        for count in remaining.values():
            count.covered += more
    return remaining, more


class KeyCount:
    """The counts of one key in one summary. None stands for "not known"."""

    __slots__ = ("covered", "misses", "ops", "requests", "timeline", "value_bytes")

    def __init__(
        self,
        requests: int = 0,
        covered: int = 0,
        ops: dict[str, int] | None = None,
        misses: int | None = None,
        value_bytes: int | None = None,
        timeline: list[int] | None = None,
    ) -> None:
        self.requests = requests
        self.covered = covered
        self.ops = ops
        self.misses = misses
        self.value_bytes = value_bytes
        self.timeline = timeline if timeline is not None else []

    @property
    def excess(self) -> int:
        """The difference between this key's upper bound and that of an unlisted key (`absent`); can be negative."""
        return self.requests - self.covered

    def upper(self, absent: int) -> int:
        """Return the most requests that the key can have had, in a summary with this `absent`."""
        return absent + self.excess

    @staticmethod
    def covered_for(requests: int, upper: int, absent: int) -> int:
        """Return the `covered` that gives the upper bound `upper` in a summary with this `absent`."""
        return requests + absent - upper

    def add(self, other: KeyCount) -> None:
        """Add the counts of the same key from another summary."""
        self.requests += other.requests
        self.covered += other.covered
        if self.ops is None or other.ops is None:
            self.ops = None
        else:
            for op, count in other.ops.items():
                self.ops[op] = self.ops.get(op, 0) + count
        self.misses = add_known(self.misses, other.misses)
        self.value_bytes = add_known(self.value_bytes, other.value_bytes)
        add_timelines(self.timeline, other.timeline)

    def copy(self) -> KeyCount:
        """Return an independent copy."""
        ops = None if self.ops is None else dict(self.ops)
        return KeyCount(self.requests, self.covered, ops, self.misses, self.value_bytes, list(self.timeline))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyCount):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"KeyCount({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


class Summary:
    """Requests by key over one window or several. `timeline` holds the total of each time bucket."""

    __slots__ = ("absent", "keys", "timeline", "total")

    def __init__(
        self,
        total: int = 0,
        absent: int = 0,
        keys: dict[Key, KeyCount] | None = None,
        timeline: list[int] | None = None,
    ) -> None:
        self.total = total
        self.absent = absent
        self.keys: dict[Key, KeyCount] = {} if keys is None else keys
        self.timeline = [] if timeline is None else timeline

    def add(self, other: Summary) -> None:
        """Merge a summary of other requests into this one. The caller must not add one twice."""
        self.total += other.total
        self.absent += other.absent
        add_timelines(self.timeline, other.timeline)
        mine = self.keys
        for key, count in other.keys.items():
            known = mine.get(key)
            if known is None:
                mine[key] = count.copy()
            else:
                known.add(count)

    def bound(self, most: int) -> None:
        """Keep the `most` keys with the most requests, when there are at least half as many more (see `truncated`).

        The bounds of the removed keys go into `absent`: every upper bound stays the same or grows.
        """
        if len(self.keys) > most + most // 2:
            self.keys, more = truncated(self.keys, most)
            self.absent += more

    def lower(self, key: Key) -> int:
        """Return the fewest requests that `key` can have had."""
        known = self.keys.get(key)
        return 0 if known is None else known.requests

    def upper(self, key: Key) -> int:
        """Return the most requests that `key` can have had."""
        known = self.keys.get(key)
        return self.absent if known is None else known.upper(self.absent)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Summary):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Summary(total={self.total}, absent={self.absent}, keys={len(self.keys)})"
