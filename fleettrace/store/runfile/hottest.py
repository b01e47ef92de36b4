"""The fleet's summary of run files too large to be held: exact for the hottest keys, bounded in memory.

`threshold.py` says which keys can be among the hottest; here they are looked up in every instance by their
fingerprints, so that what is said of them is exact, as if all keys had been merged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from heapq import nlargest
from itertools import chain
from typing import Any, BinaryIO

from fleettrace.store.runfile.blocks import column
from fleettrace.store.runfile.codec import text_key
from fleettrace.store.runfile.reader import Block, Counted, open_file
from fleettrace.store.runfile.threshold import Contenders, Name, contenders, listed_rows, name_fingerprint
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.fleet import FleetKey, FleetSummary
from fleettrace.summary.key import Key

__all__ = ["hottest_fleet"]

_STEPS = 16
"""Looking a fingerprint up takes as long as passing by so many."""

Wanted = dict[int, list[Name]]
"""Keys by their fingerprints."""

Hosts = Sequence[tuple[str, Sequence[tuple[str, Counted]]]]
"""Each host with its instances."""


def hottest_fleet(
    run: str, hosts: Hosts, n: int, *, others: int = 0, details: bool = True, timeline: bool = True
) -> FleetSummary:
    """A summary whose `rank` of `n` keys, or fewer, is that of all keys together.

    Of up to `others` further keys it knows no more than the hottest rows of each instance say: what it has of them is
    true, but may be too little. Without `details` only requests and bounds are known; without `timeline` no course is.
    Raises `ConfigError` when a file is damaged.
    """
    sources = [counted for _, instances in hosts for _, counted in instances]
    slack = 0.125
    while True:
        found = contenders(sources, n, others, slack)
        fleet = _collected(run, hosts, found, timeline)
        if _is_sound(fleet, found, n):
            break
        slack *= 8
    if details:
        _add_details(fleet, hosts, {row.key for row in fleet.rank(n)}, timeline)
    return fleet


def _is_sound(fleet: FleetSummary, found: Contenders, n: int) -> bool:
    """Whether no key that was left out can have a larger upper bound than the n + 1 largest of the contenders."""
    excesses = [known.count.requests - known.count.covered for known in fleet.keys.values() if known.count is not None]
    largest = nlargest(n + 1, [*excesses, *[0] * (n + 1)] if fleet.absent else excesses)
    return found.bound < 0 or (len(largest) > n and largest[-1] >= found.bound)


def _collected(run: str, hosts: Hosts, found: Contenders, timeline: bool) -> FleetSummary:
    """The contenders' requests on every host, and the others' as far as their rows were read before."""
    fleet = FleetSummary()
    wanted = _by_fingerprint(found.names)
    # By the text of the file while there are many to be found: a `Key` takes longer to make and to look up.
    keys = {name: FleetKey() for name in chain(found.names, found.others)}
    for known in keys.values():
        known.count = KeyCount()
    for place, (host, instances) in enumerate(hosts):
        totals = {}
        for instance, source in instances:
            totals[instance] = Summary(source.total, source.absent, {}, list(source.timeline) if timeline else [])
        fleet.add_host(run, host, totals)
        for name, requests, less in _host_rows(instances, wanted, found):
            _add(keys[name], requests, less, host, 1 << place)
    fleet.keys = {_key(name): known for name, known in keys.items() if known.host_bits}
    return fleet


def _add(known: FleetKey, requests: int, covered: int, host: str, bits: int) -> None:
    """The same as `FleetKey.add` where nothing but these is known: in a fraction of its time, for millions of rows."""
    count = known.count
    assert count is not None
    count.requests += requests
    count.covered += covered
    known.host_bits |= bits
    if requests > known.top_requests or (requests == known.top_requests and host < known.top_host):
        known.top_host, known.top_requests = host, requests


def _host_rows(
    instances: Sequence[tuple[str, Counted]], wanted: Wanted, found: Contenders
) -> Iterable[tuple[Name, int, int]]:
    """Key, requests and covered of one host, each key once."""
    if len(instances) == 1:
        return _source_rows(instances[0][1], wanted, found)
    sums: dict[Name, tuple[int, int]] = {}
    for _, source in instances:
        for name, requests, covered in _source_rows(source, wanted, found):
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + requests, before[1] + covered)
    return ((name, requests, covered) for name, (requests, covered) in sums.items())


def _source_rows(source: Counted, wanted: Wanted, found: Contenders) -> Iterator[tuple[Name, int, int]]:
    """Key, requests and covered of what one instance has of the contenders, and of the others where they were read."""
    with open_file(source.path) as file:
        for number, _, names, requests, covered in _searched(source, file, wanted, found.depth if found.others else 0):
            for name, count, less in zip(names, requests, column(covered), strict=False):
                if name in found.names or (number < found.depth and name in found.others):
                    yield name, count, less


def _searched(
    source: Counted, file: BinaryIO, wanted: Wanted, always: int
) -> Iterator[tuple[int, Block, Sequence[Name], Sequence[int], Any]]:
    """The blocks in which there is something wanted, with their columns; and the first `always` blocks."""
    missing = _present(source, file, wanted)
    for number, block in enumerate(source.blocks):
        if not missing and number >= always:
            return
        names, requests, covered = listed_rows(source, block, file)
        there = missing.intersection(names)
        if there or number < always:
            missing -= there
            yield number, block, names, requests, covered


def _by_fingerprint(names: Iterable[Name]) -> Wanted:
    wanted: Wanted = {}
    for name in names:
        wanted.setdefault(name_fingerprint(name), []).append(name)
    return wanted


def _present(source: Counted, file: BinaryIO, wanted: Wanted) -> set[Name]:
    """Those keys that the instance has, as far as fingerprints tell: rarely one too many, never one too few."""
    present: set[Name] = set()
    for marks in source.fingerprints(file):
        found: Iterable[int]
        if len(wanted) * _STEPS > len(marks):
            found = wanted.keys() & marks
        else:
            size = len(marks)
            places = ((mark, bisect_left(marks, mark)) for mark in wanted)
            found = [mark for mark, place in places if place < size and marks[place] == mark]
        for mark in found:
            present.update(wanted[mark])
    return present


def _add_details(fleet: FleetSummary, hosts: Hosts, keys: set[Key], timeline: bool) -> None:
    """Put what is known of these keys beside their requests into the summary."""
    whole: dict[Key, KeyCount] = {}
    wanted = _by_fingerprint(_name(key) for key in keys)
    for _, instances in hosts:
        for _, source in instances:
            for key, count in _detailed(source, wanted, keys):
                if not timeline:
                    count.timeline = []
                if key in whole:
                    whole[key].add(count)
                else:
                    whole[key] = count.copy()
    for key, count in whole.items():
        fleet.keys[key].count = count


def _detailed(source: Counted, wanted: Wanted, keys: Container[Key]) -> Iterator[tuple[Key, KeyCount]]:
    """Everything that one instance says of these keys."""
    with open_file(source.path) as file:
        for _, block, names, requests, covered in _searched(source, file, wanted, 0):
            details = source.details(block, file)
            columns = (covered, details["ops"], details["misses"], details["value_bytes"])
            covered_of, ops, misses, value_bytes = map(_getter, columns)
            for row, name in enumerate(names):
                if (key := _key(name)) in keys:
                    timeline = details["course"][row]
                    yield (
                        key,
                        KeyCount(requests[row], covered_of(row), ops(row), misses(row), value_bytes(row), timeline),
                    )


def _getter(values: Any) -> Callable[[int], Any]:
    return values.__getitem__ if isinstance(values, list) else lambda _row: values


def _key(name: Name) -> Key:
    return text_key(name) if isinstance(name, str) else text_key(*name)


def _name(key: Key) -> Name:
    text = key.data.decode("latin-1")
    return (text, key.length) if key.truncated else text
