"""What a list of `fleettrace top` holds: keys, families or hosts, of the fleet or of one of them, in some order.

Pure: the fleet so far and a place in, rows out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from heapq import nsmallest

from fleettrace.report.build import bytes_out
from fleettrace.report.escape import escape_text
from fleettrace.report.templates import Templates
from fleettrace.summary.key import Key
from fleettrace.tui.fleet import LiveFleet

__all__ = ["MOST", "ListFocus", "ListKind", "Row", "Sort", "list_rows"]

MOST = 500
"""Rows of a list: what is below them is looked at by a filter."""


class ListKind(StrEnum):
    """What a list is of."""

    KEYS = "keys"
    TEMPLATES = "families"
    HOSTS = "hosts"


class Sort(StrEnum):
    """What a list is ordered by, the most first."""

    REQUESTS = "requests"
    NOW = "req/s"
    BYTES = "bytes"
    MISSES = "misses"


@dataclass(frozen=True, slots=True)
class ListFocus:
    """Where one is: a list of the whole fleet, or of one host, one family or one key."""

    kind: ListKind = ListKind.KEYS
    host: str | None = None
    template: str | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    ident: Key | str
    """The key, the template or the host that it is about."""
    name: str
    """As it may be shown."""
    requests: int | None
    """None where nothing was measured."""
    recent: int | None
    """Requests of the last seconds; None where that is not kept."""
    misses: int | None = None
    bytes_out: int | None = None
    number: int = 0
    """Of a family: keys; of a host: instances."""
    timeline: tuple[int, ...] = ()
    state: str = ""

    def measure(self, sort: Sort) -> int:
        """What it is ordered by; what is not known comes last."""
        known = {Sort.REQUESTS: self.requests, Sort.NOW: self.recent, Sort.BYTES: self.bytes_out}
        value = known.get(sort, self.misses)
        return -1 if value is None else value


def list_rows(
    fleet: LiveFleet,
    families: Templates,
    place: ListFocus,
    sort: Sort,
    words: str,
    name: Callable[[Key], str],
) -> list[Row]:
    """The rows of a place, the most first: those with the `words` in their names. `name` says how a key is shown."""
    words = words.casefold()
    if place.kind is ListKind.KEYS:
        # Of all the keys only those that are shown become rows: there may be a hundred thousand, twice a second.
        keys = [key for key in _keys_of(fleet, families, place) if not words or words in name(key).casefold()]
        order = _host_order(fleet, place.host) if place.host is not None else _key_order(fleet, sort)
        return [_key_row(fleet, place.host, key, name) for key in nsmallest(MOST, keys, key=order)]
    rows = _template_rows(fleet, families) if place.kind is ListKind.TEMPLATES else _host_rows(fleet, place.key)
    found = (row for row in rows if words in row.name.casefold())
    return nsmallest(MOST, found, key=lambda row: (-row.measure(sort), -row.measure(Sort.REQUESTS), row.name))


def _keys_of(fleet: LiveFleet, families: Templates, place: ListFocus) -> Iterable[Key]:
    if place.host is not None:
        return fleet.hosts[place.host].keys if place.host in fleet.hosts else ()
    if place.template is None:
        return fleet.keys
    return (key for key in fleet.keys if not key.truncated and families.of(key.data) == place.template)


_Order = Callable[[Key], tuple[int, int, Key]]


def _host_order(fleet: LiveFleet, host: str) -> _Order:
    counts = fleet.hosts[host].keys if host in fleet.hosts else {}
    return lambda key: (-counts[key], 0, key)


def _key_order(fleet: LiveFleet, sort: Sort) -> _Order:
    keys = fleet.keys
    if sort is Sort.REQUESTS:
        return lambda key: (-keys[key].count.requests, 0, key)
    if sort is Sort.NOW:
        return lambda key: (-keys[key].recent, -keys[key].count.requests, key)

    def measure(key: Key) -> tuple[int, int, Key]:
        count = keys[key].count
        value = bytes_out(count) if sort is Sort.BYTES else count.misses
        return 1 if value is None else -value, -count.requests, key

    return measure


def _key_row(fleet: LiveFleet, host: str | None, key: Key, name: Callable[[Key], str]) -> Row:
    if host is not None:
        return Row(key, name(key), fleet.hosts[host].keys[key], None)
    known = fleet.keys[key]
    count = known.count
    return Row(
        key, name(key), count.requests, known.recent, count.misses, bytes_out(count), timeline=tuple(count.timeline)
    )


def _template_rows(fleet: LiveFleet, families: Templates) -> Iterable[Row]:
    requests: dict[str, int] = {}
    recent: dict[str, int] = {}
    keys: dict[str, int] = {}
    for key, known in fleet.keys.items():
        family = None if key.truncated else families.of(key.data)
        if family is not None:
            requests[family] = requests.get(family, 0) + known.count.requests
            recent[family] = recent.get(family, 0) + known.recent
            keys[family] = keys.get(family, 0) + 1
    for family, total in requests.items():
        yield Row(family, escape_text(family), total, recent[family], number=keys[family])


def _host_rows(fleet: LiveFleet, key: Key | None) -> Iterable[Row]:
    on_host = None if key is None else dict(fleet.hosts_of(key))
    for name, host in fleet.hosts.items():
        state = host.phase if host.state is None else host.state.value
        if on_host is None:
            timeline = tuple(host.timeline)
            number = len(host.instances)
            requests, recent = (host.requests, host.recent) if host.measured else (None, None)
            yield Row(name, escape_text(name), requests, recent, number=number, timeline=timeline, state=state)
        elif name in on_host:
            yield Row(name, escape_text(name), on_host[name], None, number=len(host.instances), state=state)
