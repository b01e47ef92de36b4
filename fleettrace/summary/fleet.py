"""Hosts' summaries merged into one: per key its bounds, on how many hosts it is, and which one it is hottest on.

Folding is associative and commutative, and idempotent by source: a summary of the same run, host and instance is
taken once, however often it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest, nsmallest
from typing import NamedTuple

from fleettrace.summary.counts import KeyCount, Summary, add_timelines, truncated
from fleettrace.summary.cut import CutKeys
from fleettrace.summary.key import Key

__all__ = ["FleetKey", "FleetSummary", "Ranked", "SourceId", "hottest"]


class SourceId(NamedTuple):
    """Whose summary it is: one traced process of one host in one run."""

    run: str
    host: str
    instance: str


class FleetKey:
    """What the fleet knows of one key."""

    __slots__ = ("count", "host_bits", "top_host", "top_requests")

    def __init__(self) -> None:
        self.count: KeyCount | None = None
        self.host_bits = 0
        self.top_host = ""
        self.top_requests = 0

    def add(self, count: KeyCount, host: str, bits: int, on_host: int | None = None) -> None:
        """Take in a count of the key: one host's, or that of several hosts, `host` the hottest with `on_host`."""
        hottest = count.requests if on_host is None else on_host
        if self.count is None:
            self.count = count.copy()
        else:
            self.count.add(count)
        self.host_bits |= bits
        if hottest > self.top_requests or (hottest == self.top_requests and host < self.top_host):
            self.top_host, self.top_requests = host, hottest


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
        """Keys were left out of `keys` to bound it: `absent` has room for them."""
        self._sources: set[SourceId] = set()
        self._bits: dict[str, int] = {}

    @property
    def sources(self) -> frozenset[SourceId]:
        """The summaries that are in."""
        return frozenset(self._sources)

    def add_host(self, run: str, host: str, instances: Mapping[str, Summary]) -> None:
        """Take in the summaries of one host's instances; those already in are left out."""
        new = []
        for instance, summary in instances.items():
            source = SourceId(run, host, instance)
            if source not in self._sources:
                self._sources.add(source)
                new.append(summary)
        whole = new[0] if len(new) == 1 else _sum(new)
        bit = self._bits.setdefault(host, 1 << len(self._bits))
        self.total += whole.total
        self.absent += whole.absent
        add_timelines(self.timeline, whole.timeline)
        keys = self.keys
        for key, key_count in whole.keys.items():
            fleet_key = keys.get(key)
            if fleet_key is None:
                fleet_key = keys[key] = FleetKey()
            fleet_key.add(key_count, host, bit)

    def bound(self, most: int) -> None:
        """As `Summary.bound`. A key that is left out and listed again by a later host has of `host_bits` and
        `top_host` what the later hosts say."""
        if len(self.keys) > most + most // 2:
            counts = {key: known.count for key, known in self.keys.items() if known.count is not None}
            kept, more = truncated(counts, most)
            self.keys = {key: self.keys[key] for key in kept}
            self.absent += more
            self.truncated = True

    def rank(self, n: int, *, bounds_open: bool = False, missing: int = 0) -> list[Ranked]:
        """The `n` keys with the most requests, most first; ties in the order of their bytes.

        A key is certified when it is in the top `n` for sure: at most `n - 1` other keys, listed or not, can have had
        more. With `bounds_open` (a host is missing) none is, and a key that was cut, which may be several, never is.
        `missing` requests were not traced, of whatever key: each other key can have had all of them.
        """
        cut = CutKeys(self._listed())
        top = nsmallest(n, self._listed(), key=lambda item: (-item[1].requests, item[0]))
        bars = _largest_uppers(self._listed(), self.absent + missing, n + 1, cut)
        return [self._ranked(key, count, bars, n, bounds_open, cut, missing) for key, count in top]

    def renamed(self, rename: Callable[[Key], Key]) -> FleetSummary:
        """The same summary of the same sources, with every key's name changed. Bounds hold even where two keys get
        the same name: it then stands for both together."""
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
                    # Each of the two can have had what is hidden from it, and the sum has to allow for both.
                    same.count.covered -= self.absent
        return changed

    def nameless(self) -> FleetSummary:
        """The same summary with no key listed: what any key can have had at most is all that is said of keys."""
        changed = self._without_keys()
        changed.absent = next(iter(_largest_uppers(self._listed(), self.absent, 1, CutKeys(self._listed()))), 0)
        return changed

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
        upper = count.requests + self.absent - count.covered + cut.may_be(key)
        # The n-th largest among the others: one further down when the key's own is one of the n largest.
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
    whole = Summary()
    for summary in summaries:
        whole.add(summary)
    return whole


def _largest_uppers(listed: Iterable[tuple[Key, KeyCount]], absent: int, n: int, cut: CutKeys) -> list[int]:
    """The `n` largest upper bounds, largest first. Any number of unlisted keys can have had up to `absent` each."""
    uppers = nlargest(n, (count.requests + absent - count.covered + cut.may_be(key) for key, count in listed))
    if absent:
        uppers = sorted([*uppers, *[absent] * n], reverse=True)[:n]
    return uppers


def hottest(summary: Summary, n: int) -> list[tuple[Key, int]]:
    """The `n` keys of one summary with the most requests, most first; ties in the order of their bytes."""
    top = nsmallest(n, summary.keys.items(), key=lambda item: (-item[1].requests, item[0]))
    return [(key, count.requests) for key, count in top]
