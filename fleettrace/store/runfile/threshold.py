"""Which keys can be among the hottest of many instances, without reading all of their rows.

Every instance's rows come with the most requested first, so what was not read of it is bounded by its next block: no
key that is still unread everywhere can have more requests than all next blocks together (the threshold of Fagin, Lotem
and Naor, "Optimal aggregation algorithms for middleware", 2003). Once that is less than the n-th best key has for sure,
the rest of the rows need not be read, but for the few keys that could still be among the n.

Counts alike on all hosts make the threshold useless; then everything is read, in parts when it is too much at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any, BinaryIO

from fleettrace.errors import ConfigError
from fleettrace.store.runfile.blocks import column, fingerprint
from fleettrace.store.runfile.gzip_members import damaged
from fleettrace.store.runfile.reader import Block, Counted, open_file

__all__ = ["Contenders", "Name", "contenders", "listed_rows", "name_fingerprint"]

Name = str | tuple[str, int]
"""A key as it stands in the file; with its length where it was cut."""

_MOST_CONTENDERS = 20_000
"""So many may still be looked up one by one; before there are more, more is read."""

_MOST_KEYS = 1_200_000
"""Keys held at once, a quarter of a kilobyte each."""


@dataclass(slots=True)
class Contenders:
    """What was found."""

    names: set[Name] = field(default_factory=set)
    """All keys that can be among the n with the most requests, or among the n + 1 with the largest upper bounds."""
    others: dict[Name, int] = field(default_factory=dict)
    """More keys, the hottest of what was read, and what they have at least."""
    bound: int = -1
    """No other key's upper bound is further than this above that of a key that is listed nowhere."""
    depth: int = 0
    """Blocks read of each instance."""


class _TooManyError(Exception):
    """More keys than may be held at once."""


def contenders(sources: Sequence[Counted], n: int, others: int = 0, slack: float = 0.125) -> Contenders:
    """The keys that can be among the hottest `n`, and up to `others` more. Raises `ConfigError` for a damaged file.

    With more `slack` the `bound` is lower, and there are more names.
    """
    parts = 1
    while True:
        try:
            return _in_parts(sources, n, others, slack, parts)
        except _TooManyError:
            parts *= 4


def _in_parts(sources: Sequence[Counted], n: int, others: int, slack: float, parts: int) -> Contenders:
    found = Contenders()
    for part in range(parts):
        search = _Search(sources, n, slack, part, parts)
        found.names |= search.run()
        found.bound = max(found.bound, search.bound)
        found.others.update(search.hottest(others))
        found.depth = max(found.depth, search.depth)
    found.others = dict(nlargest(others, found.others.items(), key=lambda item: (item[1], str(item[0]))))
    return found


class _Search:
    """One search among the keys of one part; block after block of every instance."""

    def __init__(self, sources: Sequence[Counted], n: int, slack: float, part: int, parts: int) -> None:
        self._sources = sources
        self._n = n
        self._slack = slack
        self._part, self._parts = part, parts
        self._lower: dict[Name, int] = {}
        self._excess: dict[Name, int] = {}
        """By how much a key's upper bound is above that of a key that is listed nowhere, as far as it was read."""
        self._absent = any(source.absent for source in sources)
        self.bound = -1
        self.depth = 0

    def run(self) -> set[Name]:
        """The contenders of this part."""
        while True:
            self._read_blocks()
            unread = [source.blocks[self.depth] for source in self._sources if len(source.blocks) > self.depth]
            if not unread:
                return self._best()
            found = self._possible(sum(block.most for block in unread), sum(max(0, block.excess) for block in unread))
            if found is not None:
                return found
            if len(self._lower) > _MOST_KEYS:
                raise _TooManyError

    def hottest(self, number: int) -> Iterable[tuple[Name, int]]:
        """The keys with the most requests, as far as they were read."""
        return nlargest(number, self._lower.items(), key=lambda item: (item[1], str(item[0]))) if number else ()

    def _best(self) -> set[Name]:
        """The contenders when everything was read."""
        enough = _nth(self._lower.values(), self._n)
        by_requests = nlargest(self._n, (row for row in self._lower.items() if row[1] >= enough), key=_rank_order)
        by_bound = nlargest(self._n + 1, self._excess, key=self._excess.__getitem__)
        return {name for name, _ in by_requests} | set(by_bound)

    def _possible(self, unread: int, unread_excess: int) -> set[Name] | None:
        """The contenders when a key can have so much more than was read of it; None if they cannot be told yet."""
        enough = _nth(self._lower.values(), self._n)
        bound = _nth(self._excess.values(), self._n + 1)
        if self._absent:
            # What is not read yet can also take from a key's bound: hence the slack. And of keys that are listed
            # nowhere there is no end.
            bound = max(bound - round(self._slack * unread_excess), 0)
        if enough <= unread or bound < unread_excess:
            return None
        names = {name for name, requests in self._lower.items() if requests >= enough - unread}
        names.update(name for name, excess in self._excess.items() if excess >= bound - unread_excess)
        if len(names) > _MOST_CONTENDERS:
            return None
        self.bound = bound
        return names

    def _read_blocks(self) -> None:
        lower, excess = self._lower, self._excess
        get, get_excess = lower.get, excess.get
        for names, requests, covered in self._next_blocks():
            for name, count in zip(names, requests, strict=False):
                lower[name] = get(name, 0) + count
            for name, count, less in zip(names, requests, covered, strict=False):
                excess[name] = get_excess(name, 0) + count - less
            if len(lower) > 2 * _MOST_KEYS:
                raise _TooManyError
        self.depth += 1

    def _next_blocks(self) -> Iterator[tuple[Iterable[Name], Iterable[int], Iterable[int]]]:
        for source in self._sources:
            if len(source.blocks) > self.depth:
                with open_file(source.path) as file:
                    names, requests, covered = listed_rows(source, source.blocks[self.depth], file)
                if self._parts > 1:
                    yield self._of_part(names, requests, column(covered))
                else:
                    yield names, requests, column(covered)

    def _of_part(
        self, names: Iterable[Name], requests: Iterable[int], covered: Iterable[int]
    ) -> tuple[list[Name], list[int], list[int]]:
        mine = [
            row
            for row in zip(names, requests, covered, strict=False)
            if name_fingerprint(row[0]) % self._parts == self._part
        ]
        return [row[0] for row in mine], [row[1] for row in mine], [row[2] for row in mine]


def listed_rows(source: Counted, block: Block, file: BinaryIO) -> tuple[Sequence[Name], Sequence[int], Any]:
    """A block's keys, requests and covered, the last as it stands there. Raises `ConfigError` when it is damaged."""
    document = source.listed(block, file)
    try:
        names, requests, lengths = document["key"], document["requests"], document["length"]
        if not len(names) == len(requests) == block.rows:
            raise ValueError("its columns differ in length")
        if lengths is not None:
            pairs = zip(names, column(lengths), strict=False)
            names = [name if length is None else (name, length) for name, length in pairs]
        return names, requests, document["covered"]
    except (KeyError, TypeError, ValueError) as error:
        raise _not_a_block(source, block, error) from None


def name_fingerprint(name: Name) -> int:
    """The fingerprint of a key."""
    return fingerprint(name, None) if isinstance(name, str) else fingerprint(*name)


def _not_a_block(source: Counted, block: Block, error: Exception) -> ConfigError:
    return damaged(source.path, block.offset, f"what is there is no block of rows ({error})")


def _rank_order(item: tuple[Name, int]) -> tuple[int, tuple[int, ...]]:
    """More requests before fewer; of as many, keys in the order of their bytes, as `FleetSummary.rank` has them."""
    name, requests = item
    text, length = (name, len(name)) if isinstance(name, str) else name
    # Complemented, for what is wanted is the largest: a character less is larger, and the end is larger still.
    return requests, (*(0xFF - ord(char) for char in text), 0x100, -length)


def _nth(values: Iterable[int], n: int) -> int:
    """The n-th largest, -1 if there are not so many."""
    largest = nlargest(n, values)
    return largest[-1] if len(largest) == n else -1
