"""Find the keys that can be among the hottest of many instances, without reading all of their rows.

Every instance's rows are sorted by requests, largest first, so its next block bounds its unread rows: a key that no
instance has shown yet can have at most the sum of all next blocks' maxima (the threshold of Fagin, Lotem and Naor,
"Optimal aggregation algorithms for middleware", 2003). When the n-th best key provably has more than that, the
remaining rows need not be read, except for the few keys that can still be among the n.

If counts are alike on all hosts, the threshold never helps: everything is read, in parts if it does not fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any, BinaryIO

from fleettrace.errors import ConfigError
from fleettrace.store.runfile.blocks import column, fingerprint
from fleettrace.store.runfile.gzip_members import damaged
from fleettrace.store.runfile.reader import Block, StoredSummary, open_file

__all__ = ["Contenders", "Name", "contenders", "listed_rows", "name_fingerprint"]

Name = str | tuple[str, int]
"""A key as written in the file, with its length if it was truncated."""

_MOST_CONTENDERS = 20_000
"""The most contenders that are looked up one by one; with more of them, the search reads further blocks."""

_MOST_KEYS = 1_200_000
"""The most keys held in memory, a quarter of a kilobyte each."""


@dataclass(slots=True)
class Contenders:
    """The result of the search."""

    names: set[Name] = field(default_factory=set)
    """All keys that can be among the n with the most requests, or among the n + 1 with the largest upper bounds."""
    others: dict[Name, int] = field(default_factory=dict)
    """Further keys, the hottest ones read, with a lower bound of their requests."""
    bound: int = -1
    """The largest possible `excess` (`KeyCount.excess`) of any other key."""
    depth: int = 0
    """Blocks read from each instance."""


class _TooManyError(Exception):
    """The keys do not fit in memory."""


def contenders(sources: Sequence[StoredSummary], n: int, others: int = 0, slack: float = 0.125) -> Contenders:
    """Return the keys that can be among the hottest `n`, and up to `others` more. Raises `ConfigError` for a damaged
    file.

    More `slack` gives a lower `bound` and more names.
    """
    parts = 1
    while True:
        try:
            return _in_parts(sources, n, others, slack, parts)
        except _TooManyError:
            parts *= 4


def _in_parts(sources: Sequence[StoredSummary], n: int, others: int, slack: float, parts: int) -> Contenders:
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
    """Search the keys of one part, block by block of every instance."""

    def __init__(self, sources: Sequence[StoredSummary], n: int, slack: float, part: int, parts: int) -> None:
        self._sources = sources
        self._n = n
        self._slack = slack
        self._part, self._parts = part, parts
        self._lower: dict[Name, int] = {}
        self._excess: dict[Name, int] = {}
        """The sum of `KeyCount.excess` over the rows read."""
        self._absent = any(source.absent for source in sources)
        self.bound = -1
        self.depth = 0

    def run(self) -> set[Name]:
        """Return the contenders of this part."""
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
        """Return the keys with the most requests among the rows read."""
        return nlargest(number, self._lower.items(), key=lambda item: (item[1], str(item[0]))) if number else ()

    def _best(self) -> set[Name]:
        """Return the contenders after reading all rows."""
        enough = _nth(self._lower.values(), self._n)
        by_requests = nlargest(self._n, (row for row in self._lower.items() if row[1] >= enough), key=_rank_order)
        by_bound = nlargest(self._n + 1, self._excess, key=self._excess.__getitem__)
        return {name for name, _ in by_requests} | set(by_bound)

    def _possible(self, unread: int, unread_excess: int) -> set[Name] | None:
        """Return the contenders if unread rows add at most this much to a key; None if more must be read."""
        enough = _nth(self._lower.values(), self._n)
        bound = _nth(self._excess.values(), self._n + 1)
        if self._absent:
            # Unread rows can also lower a key's bound: hence the slack. The number of unlisted keys is unlimited.
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


def listed_rows(source: StoredSummary, block: Block, file: BinaryIO) -> tuple[Sequence[Name], Sequence[int], Any]:
    """Return a block's keys, requests and (still folded) covered. Raises `ConfigError` when it is damaged."""
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
    """Return the fingerprint of a key."""
    return fingerprint(name, None) if isinstance(name, str) else fingerprint(*name)


def _not_a_block(source: StoredSummary, block: Block, error: Exception) -> ConfigError:
    return damaged(source.path, block.offset, f"not a valid block of rows ({error})")


def _rank_order(item: tuple[Name, int]) -> tuple[int, tuple[int, ...]]:
    """Return a sort key: requests first; of ties, the order of the bytes, as in `FleetSummary.rank`."""
    name, requests = item
    text, length = (name, len(name)) if isinstance(name, str) else name
    # The caller takes the largest, so bytes are complemented, and the end of the key is the largest of all.
    return requests, (*(0xFF - ord(char) for char in text), 0x100, -length)


def _nth(values: Iterable[int], n: int) -> int:
    """Return the n-th largest value, -1 if there are fewer."""
    largest = nlargest(n, values)
    return largest[-1] if len(largest) == n else -1
