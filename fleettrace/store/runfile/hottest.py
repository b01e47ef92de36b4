"""Summarize run files that do not fit in memory: exact for the hottest keys.

`threshold.py` finds the keys that can be among the hottest; this module looks them up in every instance by their
fingerprints, so that their counts are exact, as if all keys had been merged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

from fleettrace.store.runfile.blocks import column
from fleettrace.store.runfile.codec import text_key
from fleettrace.store.runfile.reader import Block, StoredSummary, open_file
from fleettrace.store.runfile.threshold import Contenders, Name, contenders, listed_rows, name_fingerprint
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.fleet import FleetKey, FleetSummary
from fleettrace.summary.key import Key

__all__ = ["hottest_fleet"]

_STEPS = 16
"""A binary search for one fingerprint costs as much as scanning this many."""

NamesByFingerprint = dict[int, list[Name]]
"""The keys to look up."""

Hosts = Sequence[tuple[str, Sequence[tuple[str, StoredSummary]]]]
"""Each host with its instances."""


def hottest_fleet(
    run: str, hosts: Hosts, n: int, *, others: int = 0, details: bool = True, timeline: bool = True
) -> FleetSummary:
    """Return a summary of which `rank` for up to `n` keys equals that of all keys merged.

    It has up to `others` further keys, with the counts of each instance's hottest rows only: lower bounds. Without
    `details`, only requests and bounds are known; without `timeline`, no timeline. Raises `ConfigError` when a file is
    damaged.
    """
    sources = [counted for _, instances in hosts for _, counted in instances]
    slack = 0.125
    while True:
        found = contenders(sources, n, others, slack)
        fleet = _collected(run, hosts, found, timeline)
        if _is_exact(fleet, found, n):
            break
        slack *= 8
    if details:
        _add_details(fleet, hosts, {row.key for row in fleet.rank(n)}, timeline)
    return fleet


def _is_exact(fleet: FleetSummary, found: Contenders, n: int) -> bool:
    """Return whether no other key can have a larger upper bound than the n + 1 largest of the contenders."""
    largest = fleet.largest_excesses(n + 1)
    return found.bound < 0 or (len(largest) > n and largest[-1] >= found.bound)


def _collected(run: str, hosts: Hosts, found: Contenders, timeline: bool) -> FleetSummary:
    """Return the contenders' requests on every host, and the others' from the blocks read before."""
    fleet = FleetSummary()
    by_fingerprint = _index(found.names)
    # Keys stay in the form of the file during the search: a `Key` takes longer to create and to look up.
    keys = {name: FleetKey() for name in chain(found.names, found.others)}
    for known in keys.values():
        known.count = KeyCount()
    for place, (host, instances) in enumerate(hosts):
        totals = {}
        for instance, source in instances:
            totals[instance] = Summary(source.total, source.absent, {}, list(source.timeline) if timeline else [])
        fleet.add_host(run, host, totals)
        for name, requests, covered in _host_rows(instances, by_fingerprint, found):
            _add(keys[name], requests, covered, host, 1 << place)
    fleet.keys = {_key(name): known for name, known in keys.items() if known.host_bits}
    return fleet


def _add(known: FleetKey, requests: int, covered: int, host: str, bits: int) -> None:
    """Do the same as `FleetKey.add` for requests and covered only, in a fraction of its time, for millions of rows."""
    count = known.count
    assert count is not None
    count.requests += requests
    count.covered += covered
    known.host_bits |= bits
    if requests > known.top_requests or (requests == known.top_requests and host < known.top_host):
        known.top_host, known.top_requests = host, requests


def _host_rows(
    instances: Sequence[tuple[str, StoredSummary]], by_fingerprint: NamesByFingerprint, found: Contenders
) -> Iterable[tuple[Name, int, int]]:
    """Return key, requests and covered of one host, each key once."""
    if len(instances) == 1:
        return _source_rows(instances[0][1], by_fingerprint, found)
    sums: dict[Name, tuple[int, int]] = {}
    for _, source in instances:
        for name, requests, covered in _source_rows(source, by_fingerprint, found):
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + requests, before[1] + covered)
    return ((name, requests, covered) for name, (requests, covered) in sums.items())


def _source_rows(
    source: StoredSummary, by_fingerprint: NamesByFingerprint, found: Contenders
) -> Iterator[tuple[Name, int, int]]:
    """Yield key, requests and covered of one instance's rows of the contenders, and of the others in the blocks read
    before."""
    with open_file(source.path) as file:
        for number, _, names, requests, covered in _searched(
            source, file, by_fingerprint, found.depth if found.others else 0
        ):
            for name, count, less in zip(names, requests, column(covered), strict=False):
                if name in found.names or (number < found.depth and name in found.others):
                    yield name, count, less


def _searched(
    source: StoredSummary, file: BinaryIO, by_fingerprint: NamesByFingerprint, always: int
) -> Iterator[tuple[int, Block, Sequence[Name], Sequence[int], Any]]:
    """Yield the blocks that hold any of the keys, with their columns, and the first `always` blocks."""
    missing = _present(source, file, by_fingerprint)
    for number, block in enumerate(source.blocks):
        if not missing and number >= always:
            return
        names, requests, covered = listed_rows(source, block, file)
        found = missing.intersection(names)
        if found or number < always:
            missing -= found
            yield number, block, names, requests, covered


def _index(names: Iterable[Name]) -> NamesByFingerprint:
    by_fingerprint: NamesByFingerprint = {}
    for name in names:
        by_fingerprint.setdefault(name_fingerprint(name), []).append(name)
    return by_fingerprint


def _present(source: StoredSummary, file: BinaryIO, by_fingerprint: NamesByFingerprint) -> set[Name]:
    """Return the keys with a fingerprint that the instance has: seldom one too many, never one too few."""
    present: set[Name] = set()
    for values in source.fingerprints(file):
        found: Iterable[int]
        if len(by_fingerprint) * _STEPS > len(values):
            found = by_fingerprint.keys() & values
        else:
            size = len(values)
            places = ((value, bisect_left(values, value)) for value in by_fingerprint)
            found = [value for value, place in places if place < size and values[place] == value]
        for value in found:
            present.update(by_fingerprint[value])
    return present


def _add_details(fleet: FleetSummary, hosts: Hosts, keys: set[Key], timeline: bool) -> None:
    """Add ops, misses, sizes and timelines of these keys to the summary."""
    merged: dict[Key, KeyCount] = {}
    by_fingerprint = _index(_name(key) for key in keys)
    for _, instances in hosts:
        for _, source in instances:
            for key, count in _detailed(source, by_fingerprint, keys):
                if not timeline:
                    count.timeline = []
                if key in merged:
                    merged[key].add(count)
                else:
                    merged[key] = count.copy()
    for key, count in merged.items():
        fleet.keys[key].count = count


def _detailed(
    source: StoredSummary, by_fingerprint: NamesByFingerprint, keys: Container[Key]
) -> Iterator[tuple[Key, KeyCount]]:
    """Yield the complete counts of these keys on one instance."""
    with open_file(source.path) as file:
        for _, block, names, requests, covered in _searched(source, file, by_fingerprint, 0):
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
