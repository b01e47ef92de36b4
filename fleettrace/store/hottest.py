"""The fleet's summary of run files too large to be held: exact for the hottest keys, bounded in memory.

`threshold.py` says which keys can be among the hottest; here they are looked up in every instance by their
fingerprints, so that what is said of them is exact, as if all keys had been merged.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterator, Sequence
from heapq import nlargest
from typing import Any, BinaryIO

from fleettrace.store.blocks import column
from fleettrace.store.documents import text_key
from fleettrace.store.reading import Block, Counted, open_file
from fleettrace.store.threshold import Contenders, Name, contenders, listed_rows, name_fingerprint
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.fleet import FleetSummary
from fleettrace.summary.key import Key

__all__ = ["hottest_fleet"]

Hosts = Sequence[tuple[str, Sequence[tuple[str, Counted]]]]
"""Each host with its instances."""


def hottest_fleet(
    run: str, hosts: Hosts, n: int, *, others: int = 0, details: bool = True, course: bool = True
) -> FleetSummary:
    """A summary whose `rank` of `n` keys, or fewer, is that of all keys together.

    Of up to `others` further keys it knows no more than the hottest rows of each instance say: what it has of them is
    true, but may be too little. Without `details` only requests and bounds are known; without `course` no course is.
    Raises `ConfigError` when a file is damaged.
    """
    sources = [counted for _, instances in hosts for _, counted in instances]
    slack = 0.125
    while True:
        found = contenders(sources, n, others, slack)
        fleet = _collected(run, hosts, found, course)
        if _is_sound(fleet, found, n):
            break
        slack *= 8
    if details:
        _add_details(fleet, hosts, {row.key for row in fleet.rank(n)}, course)
    return fleet


def _is_sound(fleet: FleetSummary, found: Contenders, n: int) -> bool:
    """Whether no key that was left out can have a larger upper bound than the n + 1 largest of the contenders."""
    excesses = [known.count.requests - known.count.covered for known in fleet.keys.values() if known.count is not None]
    largest = nlargest(n + 1, [*excesses, *[0] * (n + 1)] if fleet.absent else excesses)
    return found.bound < 0 or (len(largest) > n and largest[-1] >= found.bound)


def _collected(run: str, hosts: Hosts, found: Contenders, course: bool) -> FleetSummary:
    """The contenders' requests on every host, and the others' as far as their rows were read before."""
    fleet = FleetSummary()
    wanted = {name_fingerprint(name) for name in found.names}
    for host, instances in hosts:
        summaries = {}
        for instance, source in instances:
            keys = {}
            with open_file(source.path) as file:
                for names, requests, covered, rows in _blocks_with(source, file, wanted, found):
                    for name, count, less in _rows_of(names, requests, covered, rows, found):
                        keys[_key(name)] = KeyCount(count, less)
            summaries[instance] = Summary(source.total, source.absent, keys, list(source.course) if course else [])
        fleet.add_host(run, host, summaries)
    return fleet


def _blocks_with(
    source: Counted, file: BinaryIO, wanted: set[int], found: Contenders
) -> Iterator[tuple[Sequence[Name], Sequence[int], Any, Sequence[int] | None]]:
    """The blocks that may have something to offer, and which of their rows; None for all of them."""
    hits = _hits(source, file, wanted)
    for number, block in enumerate(source.blocks):
        everything = bool(found.others) and number < found.depth
        if everything or number in hits:
            yield (*listed_rows(source, block, file), None if everything else hits[number])


def _rows_of(
    names: Sequence[Name], requests: Sequence[int], covered: Any, rows: Sequence[int] | None, found: Contenders
) -> Iterator[tuple[Name, int, int]]:
    """Key, requests and covered of those rows, or of all, that somebody asked for."""
    if rows is None:
        for name, count, less in zip(names, requests, column(covered), strict=False):
            if name in found.names or name in found.others:
                yield name, count, less
        return
    covered_of = _getter(covered)
    for row in rows:
        if names[row] in found.names:
            yield names[row], requests[row], covered_of(row)


def _hits(source: Counted, file: BinaryIO, wanted: set[int]) -> dict[int, list[int]]:
    """By block the rows whose fingerprints are wanted."""
    marks = source.fingerprints(file)
    hits: dict[int, list[int]] = {}
    for row in sorted(row for mark in wanted.intersection(marks) for row in _places(marks, mark)):
        first = 0
        for number, block in enumerate(source.blocks):
            if row < first + block.rows:
                hits.setdefault(number, []).append(row - first)
                break
            first += block.rows
    return hits


def _places(marks: array[int], mark: int) -> Iterator[int]:
    """Every row with this fingerprint: usually one."""
    row = marks.index(mark)
    while True:
        yield row
        try:
            row = marks.index(mark, row + 1)
        except ValueError:
            return


def _add_details(fleet: FleetSummary, hosts: Hosts, keys: set[Key], course: bool) -> None:
    """Put what is known of these keys beside their requests into the summary."""
    whole: dict[Key, KeyCount] = {}
    wanted = {name_fingerprint(_name(key)) for key in keys}
    for _, instances in hosts:
        for _, source in instances:
            with open_file(source.path) as file:
                for number, rows in _hits(source, file, wanted).items():
                    for key, count in _detailed(source, source.blocks[number], file, rows, keys):
                        if not course:
                            count.course = []
                        if key in whole:
                            whole[key].add(count)
                        else:
                            whole[key] = count.copy()
    for key, count in whole.items():
        fleet.keys[key].count = count


def _detailed(
    source: Counted, block: Block, file: BinaryIO, rows: Sequence[int], keys: Container[Key]
) -> Iterator[tuple[Key, KeyCount]]:
    """Everything that a block says of some of its rows."""
    names, requests, covered = listed_rows(source, block, file)
    mine = [row for row in rows if _key(names[row]) in keys]
    if not mine:
        return
    details = source.details(block, file)
    covered_of, ops, misses, value_bytes = map(
        _getter, (covered, details["ops"], details["misses"], details["value_bytes"])
    )
    for row in mine:
        count = KeyCount(
            requests[row], covered_of(row), ops(row), misses(row), value_bytes(row), details["course"][row]
        )
        yield _key(names[row]), count


def _getter(values: Any) -> Callable[[int], Any]:
    return values.__getitem__ if isinstance(values, list) else lambda _row: values


def _key(name: Name) -> Key:
    return text_key(name) if isinstance(name, str) else text_key(*name)


def _name(key: Key) -> Name:
    text = key.data.decode("latin-1")
    return (text, key.length) if key.truncated else text
