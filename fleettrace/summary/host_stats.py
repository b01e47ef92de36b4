"""The stats of one memcached instance over a span of time: hits, evictions, connections, bytes, memory. Pure.

The numbers are memcached's own. One that it did not report, or that went back, is None, and `unknown` has the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

__all__ = [
    "GAUGES",
    "GROWTHS",
    "MOST_CLASS",
    "MOST_COUNT",
    "NOT_STORED",
    "EvictingClass",
    "HostStats",
    "document_of",
    "host_stats_of",
    "joined",
    "total_of",
    "unknown_stats",
]

MOST_COUNT = (1 << 63) - 1
"""The largest number that is stored anywhere (SQLite's INTEGER); memcached cannot count so far."""
GROWTHS = (
    *("get_hits", "get_misses", "evictions", "expired_unfetched", "get_expired", "reclaimed", "new_connections"),
    *("rejected_connections", "listen_disabled_num", "conn_yields", "bytes_read", "bytes_written"),
)
"""The fields that count what happened over the span."""
GAUGES = ("curr_connections", "max_connections", "memory_used", "memory_limit", "threads", "curr_items")
"""The fields that hold at its end."""
NOT_STORED = "the run has no stats of it: it was not traced, or an older fleettrace wrote the run"
"""The reason where the run did not ask memcached."""
MOST_CLASS = 255
"""The largest number of a slab class: memcached stores it in 8 bits (item.slabs_clsid in memcached.h)."""
_LEAST_SECONDS = 0.0001
"""Shorter spans give absurd rates."""
_MOST_SECONDS = 1e14
"""More than the largest difference of two times that a node can send."""
_MOST_REASON = 200
"""Characters of a reason in a stored document."""


@dataclass(frozen=True, slots=True)
class EvictingClass:
    """The slab class that evicted most."""

    number: int
    evictions: int
    share: float
    """Its part of the evictions of all classes, 0 to 1."""
    seconds: float
    """Between the two answers about classes: more than the window, for they come before and after bpftrace."""
    chunk_size: int | None = None
    """Bytes of a chunk: the most that an item of the class takes, with its header."""


@dataclass(frozen=True, slots=True)
class HostStats:
    """The stats of one instance: its counters between two answers to `stats`, and its state at the second one."""

    seconds: float | None = None
    """Between the two answers that are nearest to the window's ends."""
    get_hits: int | None = None
    get_misses: int | None = None
    evictions: int | None = None
    expired_unfetched: int | None = None
    """Items that expired and were never asked for."""
    get_expired: int | None = None
    """Items that had expired when they were asked for."""
    reclaimed: int | None = None
    """Items that took the memory of an expired one."""
    new_connections: int | None = None
    """Without fleettrace's own."""
    rejected_connections: int | None = None
    """Connections refused at the limit of connections (`maxconns_fast`, the default of newer versions)."""
    listen_disabled_num: int | None = None
    """How often the limit of connections stopped it from accepting more (older versions, `no_maxconns_fast`)."""
    conn_yields: int | None = None
    """How often a connection had to wait for others, because it had sent many requests at once."""
    bytes_read: int | None = None
    """Bytes from clients, without fleettrace's own."""
    bytes_written: int | None = None
    """Bytes to clients, without the answers to fleettrace."""
    curr_connections: int | None = None
    """At the span's end, without fleettrace's own."""
    max_connections: int | None = None
    memory_used: int | None = None
    """Bytes of all items."""
    memory_limit: int | None = None
    threads: int | None = None
    curr_items: int | None = None
    evicting_class: EvictingClass | None = None
    """The class that evicted most; None if unknown, and if nothing was evicted."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """The reasons, by the names of fields that are None."""

    @property
    def hit_ratio(self) -> float | None:
        """The part of look-ups that hit; None if unknown, and without look-ups."""
        if self.get_hits is None or self.get_misses is None or not self.get_hits + self.get_misses:
            return None
        return self.get_hits / (self.get_hits + self.get_misses)

    def rate(self, name: str) -> float | None:
        """Return the growth of a counter per second; None if unknown."""
        growth: int | None = getattr(self, name)
        return None if growth is None or not self.seconds else growth / self.seconds

    def why_unknown(self, name: str) -> str:
        """Return the reason why a field is None, also for `hit_ratio`."""
        if name == "hit_ratio":
            names = [one for one in ("get_hits", "get_misses") if one in self.unknown]
            return self.unknown[names[0]] if names else "there was no look-up"
        return self.unknown.get(name, "")


def unknown_stats(reason: str) -> HostStats:
    """Return the stats of an instance that reported nothing."""
    return HostStats(unknown=dict.fromkeys(("seconds", *GROWTHS, *GAUGES, "evicting_class"), reason))


def joined(earlier: HostStats, later: HostStats) -> HostStats:
    """Return the stats of one instance over two spans that follow each other."""
    values: dict[str, Any] = {}
    unknown = {**earlier.unknown, **later.unknown}
    for name in ("seconds", *GROWTHS):
        a, b = getattr(earlier, name), getattr(later, name)
        values[name] = None if a is None or b is None else a + b
        if values[name] is not None and values[name] > MOST_COUNT:
            values[name], unknown[name] = None, "the sum exceeds 63 bits"
    known_later = {name: getattr(later, name) for name in (*GAUGES, "evicting_class")}
    for name, value in known_later.items():
        if value is not None:
            unknown.pop(name, None)
    return replace(later, **values, unknown=unknown)


def total_of(values: Iterable[float | None]) -> float | None:
    """Return the sum; None where one is unknown, and where there is none."""
    known = list(values)
    numbers = [one for one in known if one is not None]
    return sum(numbers) if known and len(numbers) == len(known) else None


def document_of(stats: HostStats) -> dict[str, Any]:
    """Return the stats as plain values; `unknown` has the reason of every None."""
    reasons = {name: stats.why_unknown(name) for name in ("hit_ratio",) if stats.hit_ratio is None}
    return {"hit_ratio": stats.hit_ratio, **asdict(stats), "unknown": {**stats.unknown, **reasons}}


def host_stats_of(document: Mapping[str, Any]) -> HostStats:
    """Return the stats of a document, all bounded. Raises `KeyError`, `TypeError`, `ValueError`."""
    counts = {name: _count(document.get(name), name) for name in (*GROWTHS, *GAUGES)}
    seconds = document.get("seconds")
    evicting = document.get("evicting_class")
    unknown = document.get("unknown", {})
    return HostStats(
        seconds=None if seconds is None else _within(seconds, _MOST_SECONDS, "seconds", _LEAST_SECONDS),
        **counts,
        evicting_class=None if evicting is None else _class_of(evicting),
        unknown={str(name)[:40]: str(why)[:_MOST_REASON] for name, why in list(unknown.items())[:40]},
    )


def _class_of(document: Mapping[str, Any]) -> EvictingClass:
    number, evictions = (_count(document[name], name) for name in ("number", "evictions"))
    if number is None or evictions is None or number > MOST_CLASS:
        raise ValueError(f"no slab class: {number!r:.40}")
    return EvictingClass(
        number=number,
        evictions=evictions,
        share=_within(document["share"], 1.0, "share"),
        seconds=_within(document["seconds"], _MOST_SECONDS, "seconds", _LEAST_SECONDS),
        chunk_size=_count(document.get("chunk_size"), "chunk_size"),
    )


def _count(value: object, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_COUNT:
        raise ValueError(f"{name} is not a count: {value!r:.40}")
    return value


def _within(value: object, most: float, name: str, least: float = 0.0) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} is not between {least:g} and {most:g}: {value!r:.40}")
    return float(value)
