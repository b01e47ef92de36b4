"""The merged summary of all hosts: for each key its bounds, its number of hosts, and its hottest host.

Merging is associative and commutative, and idempotent by source: a summary of the same run, host and instance is
merged once, however often it arrives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest, nsmallest
from typing import NamedTuple

from fleettrace.summary.counts import KeyCount, Summary, add_timelines, truncated
from fleettrace.summary.key import KEY_MAX_LENGTH, Key

__all__ = ["CutKeys", "FleetKey", "FleetSummary", "Ranked", "SourceId", "hottest"]


class SourceId(NamedTuple):
    """Identifies a summary: one traced process of one host in one run."""

    run: str
    host: str
    instance: str


class FleetKey:
    """The counts of one key over the fleet."""

    __slots__ = ("count", "host_bits", "top_host", "top_requests")

    def __init__(self) -> None:
        self.count: KeyCount | None = None
        self.host_bits = 0
        self.top_host = ""
        self.top_requests = 0

    def add(self, count: KeyCount, host: str, bits: int, on_host: int | None = None) -> None:
        """Add a count of the key, from one host or from several, of which `host` is the hottest with `on_host`."""
        hottest = count.requests if on_host is None else on_host
        if self.count is None:
            self.count = count.copy()
        else:
            self.count.add(count)
        self.host_bits |= bits
        if hottest > self.top_requests or (hottest == self.top_requests and host < self.top_host):
            self.top_host, self.top_requests = host, hottest


class CutKeys:
    """The truncated keys among the listed ones, and their effect on the bounds of the other keys.

    A truncated key stands for every key that begins with its bytes and has its length. A key that one host read
    completely may be truncated on another host with an older bpftrace, so it can also have had the truncated key's
    requests.
    """

    def __init__(self, listed: Iterable[tuple[Key, KeyCount]]) -> None:
        self._requests: Counter[tuple[bytes, int]] = Counter()
        for key, count in listed:
            if key.truncated:
                self._requests[key] += count.requests
        self._sizes = sorted({len(data) for data, _ in self._requests})

    def may_be(self, key: Key) -> int:
        """Return the most requests of truncated keys that can have been for `key`."""
        if not self._requests or key.truncated:
            return 0
        # A truncated command line does not contain the length of its last key, which then has the maximum.
        lengths = {key.length, KEY_MAX_LENGTH}
        return sum(
            self._requests[key.data[:size], length] for size in self._sizes if size < key.length for length in lengths
        )


class Ranked(NamedTuple):
    """A key in the order of the report."""

    key: Key
    known: KeyCount
    requests_max: int
    certified: bool
    hosts: int
    top_host: str
    top_requests: int


class FleetSummary:
    """The merged summary of many hosts."""

    def __init__(self) -> None:
        self.total = 0
        self.absent = 0
        self.timeline: list[int] = []
        self.keys: dict[Key, FleetKey] = {}
        self.truncated = False
        """Keys were removed from `keys` to bound its size: `absent` includes them."""
        self._sources: set[SourceId] = set()
        self._bits: dict[str, int] = {}

    @property
    def sources(self) -> frozenset[SourceId]:
        """The merged summaries."""
        return frozenset(self._sources)

    def add_host(self, run: str, host: str, instances: Mapping[str, Summary]) -> None:
        """Merge the summaries of one host's instances, except those merged before."""
        new = []
        for instance, summary in instances.items():
            source = SourceId(run, host, instance)
            if source not in self._sources:
                self._sources.add(source)
                new.append(summary)
        merged = new[0] if len(new) == 1 else _sum(new)
        bit = self._bits.setdefault(host, 1 << len(self._bits))
        self.total += merged.total
        self.absent += merged.absent
        add_timelines(self.timeline, merged.timeline)
        keys = self.keys
        for key, key_count in merged.keys.items():
            fleet_key = keys.get(key)
            if fleet_key is None:
                fleet_key = keys[key] = FleetKey()
            fleet_key.add(key_count, host, bit)

    def bound(self, most: int) -> None:
        """Limit the number of keys as `Summary.bound` does. For a key that is removed and then listed by a later host,
        `host_bits` and `top_host` cover only the later hosts."""
        if len(self.keys) > most + most // 2:
            counts = {key: known.count for key, known in self.keys.items() if known.count is not None}
            remaining, more = truncated(counts, most)
            self.keys = {key: self.keys[key] for key in remaining}
            self.absent += more
            self.truncated = True

    def rank(
        self,
        n: int,
        *,
        bounds_open: bool = False,
        missing: int = 0,
        order: Callable[[Key, KeyCount], int] | None = None,
    ) -> list[Ranked]:
        """Return the `n` keys with the most requests, most first; ties in the order of their bytes.

        A key is certified when it is provably in the top `n`: at most `n - 1` other keys, listed or not, can have had
        more requests. With `bounds_open` (a host is missing) no key is certified; a truncated key, which may stand for
        several, never is. `missing` requests were not traced: any other key can have had all of them. `order` returns
        what the keys are ordered by instead of their requests, largest first; they are certified as before.
        """
        cut = CutKeys(self._listed())
        top = nsmallest(
            n,
            self._listed(),
            key=lambda item: (0 if order is None else -order(*item), -item[1].requests, item[0]),
        )
        bars = _largest_uppers(self._listed(), self.absent + missing, n + 1, cut)
        return [self._ranked(key, count, bars, n, bounds_open, cut, missing) for key, count in top]

    def renamed(self, rename: Callable[[Key], Key]) -> FleetSummary:
        """Return this summary with every key renamed. If two keys get the same name, that name stands for both
        together, and the bounds still hold."""
        changed = self._without_keys()
        for key, known in self.keys.items():
            name = rename(key)
            same = changed.keys.get(name)
            if same is None:
                same = changed.keys[name] = FleetKey()
            if known.count is not None:
                collides = same.count is not None
                same.add(known.count, known.top_host, known.host_bits, known.top_requests)
                if collides and same.count is not None:
                    # Each of the two can have had `absent` more requests, so the sum must allow for both.
                    same.count.covered -= self.absent
        return changed

    def nameless(self) -> FleetSummary:
        """Return this summary with no key listed; `absent` becomes the largest upper bound of any key."""
        changed = self._without_keys()
        changed.absent = next(iter(_largest_uppers(self._listed(), self.absent, 1, CutKeys(self._listed()))), 0)
        return changed

    def largest_excesses(self, n: int) -> list[int]:
        """Return the differences of the `n` largest upper bounds to `absent`, largest first. Ignores truncated keys."""
        return [upper - self.absent for upper in _largest_uppers(self._listed(), self.absent, n, CutKeys(()))]

    def _without_keys(self) -> FleetSummary:
        changed = FleetSummary()
        changed.total, changed.absent, changed.timeline = self.total, self.absent, list(self.timeline)
        changed.truncated = self.truncated
        changed._sources, changed._bits = set(self._sources), dict(self._bits)
        return changed

    def _listed(self) -> Iterable[tuple[Key, KeyCount]]:
        return ((key, known.count) for key, known in self.keys.items() if known.count is not None)

    def _ranked(
        self,
        key: Key,
        count: KeyCount,
        bars: list[int],
        n: int,
        bounds_open: bool,
        cut: CutKeys,
        missing: int,
    ) -> Ranked:
        upper = count.upper(self.absent) + cut.may_be(key)
        # The n-th largest among the other keys: one further down when this key is among the n largest.
        own_is_above = len(bars) >= n and upper >= bars[n - 1] - missing
        place = n if own_is_above else n - 1
        bar = bars[place] if place < len(bars) else 0
        known = self.keys[key]
        return Ranked(
            key=key,
            known=count,
            requests_max=upper,
            certified=not bounds_open and not key.truncated and count.requests >= bar,
            hosts=known.host_bits.bit_count(),
            top_host=known.top_host,
            top_requests=known.top_requests,
        )


def _sum(summaries: Iterable[Summary]) -> Summary:
    merged = Summary()
    for summary in summaries:
        merged.add(summary)
    return merged


def _largest_uppers(listed: Iterable[tuple[Key, KeyCount]], absent: int, n: int, cut: CutKeys) -> list[int]:
    """Return the `n` largest upper bounds, largest first. Any number of unlisted keys can have had `absent` each."""
    uppers = nlargest(n, (count.upper(absent) + cut.may_be(key) for key, count in listed))
    if absent:
        uppers = sorted([*uppers, *[absent] * n], reverse=True)[:n]
    return uppers


def hottest(summary: Summary, n: int) -> list[tuple[Key, int]]:
    """Return the `n` keys of one summary with the most requests, most first; ties in the order of their bytes."""
    top = nsmallest(n, summary.keys.items(), key=lambda item: (-item[1].requests, item[0]))
    return [(key, count.requests) for key, count in top]
