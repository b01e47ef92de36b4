"""Add up the stats of a host's instances: rates per second, connections, memory, and the class that evicts most. Pure.

One instance with an unknown number makes the host's number unknown: a sum of some instances would look like all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fleettrace.summary.host_stats import EvictingClass, HostStats
from fleettrace.summary.run import InstanceResult

__all__ = ["Evicting", "HostTotals", "host_totals"]


@dataclass(frozen=True, slots=True)
class Evicting:
    """The instance that evicts most, with its class that does."""

    instance: InstanceResult
    evicting_class: EvictingClass


@dataclass(frozen=True, slots=True)
class HostTotals:
    """The stats of a host: all its instances together. None: unknown for one of them."""

    hit_ratio: float | None
    """Also None without look-ups."""
    evictions: float | None
    """Per second, as are the other rates."""
    expired: float | None
    """Items that expired without being asked for, or were asked for too late."""
    reclaimed: float | None
    bytes_in: float | None
    bytes_out: float | None
    new_connections: float | None
    connections: int | None
    """At the end of the window."""
    max_connections: int | None
    refused: int | None
    """Over the window: connections refused at the limit, or times that it stopped memcached from accepting more."""
    yields: int | None
    """Over the window: times that a connection had to wait for others."""
    memory_used: int | None
    memory_limit: int | None
    threads: int | None
    evicting: Evicting | None
    """None if unknown, and if nothing was evicted."""


def host_totals(instances: Sequence[InstanceResult]) -> HostTotals:
    """Return the stats of a host from those of its instances; all are None for a host without an instance."""
    stats = [instance.stats or HostStats() for instance in instances]

    def number(read: Callable[[HostStats], int | None]) -> int | None:
        values = [value for value in map(read, stats) if value is not None]
        return sum(values) if values and len(values) == len(stats) else None

    def rate(name: str) -> float | None:
        values = [value for one in stats if (value := one.rate(name)) is not None]
        return sum(values) if values and len(values) == len(stats) else None

    hits, misses = number(lambda one: one.get_hits), number(lambda one: one.get_misses)
    lookups = None if hits is None or misses is None else hits + misses
    return HostTotals(
        hit_ratio=None if hits is None or not lookups else hits / lookups,
        evictions=rate("evictions"),
        expired=_sum(rate("expired_unfetched"), rate("get_expired")),
        reclaimed=rate("reclaimed"),
        bytes_in=rate("bytes_read"),
        bytes_out=rate("bytes_written"),
        new_connections=rate("new_connections"),
        connections=number(lambda one: one.curr_connections),
        max_connections=number(lambda one: one.max_connections),
        refused=number(_refused),
        yields=number(lambda one: one.conn_yields),
        memory_used=number(lambda one: one.memory_used),
        memory_limit=number(lambda one: one.memory_limit),
        threads=number(lambda one: one.threads),
        evicting=_evicting(instances),
    )


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _refused(stats: HostStats) -> int | None:
    """Return how often the limit of connections was hit, by the counter that this version of memcached has."""
    known = [one for one in (stats.rejected_connections, stats.listen_disabled_num) if one is not None]
    return sum(known) if known else None


def _evicting(instances: Iterable[InstanceResult]) -> Evicting | None:
    found = [
        Evicting(instance, instance.stats.evicting_class)
        for instance in instances
        if instance.stats is not None and instance.stats.evicting_class is not None
    ]
    return max(found, key=lambda one: one.evicting_class.evictions / one.evicting_class.seconds, default=None)
