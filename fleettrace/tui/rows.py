"""The rows of a list in `fleettrace top`: keys, families or hosts, filtered and sorted. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from heapq import nsmallest

from fleettrace.report.escape import escape_text
from fleettrace.report.items import bytes_out
from fleettrace.report.templates import Templates
from fleettrace.summary.key import Key
from fleettrace.tui.fleet import LiveFleet

__all__ = ["MOST", "ListFocus", "ListKind", "Row", "Sort", "list_rows"]

MOST = 500
"""Number of rows in a list; a filter reaches the others."""


class ListKind(StrEnum):
    """What a list shows."""

    KEYS = "keys"
    TEMPLATES = "families"
    HOSTS = "hosts"


class Sort(StrEnum):
    """The column that sorts a list, largest first."""

    REQUESTS = "requests"
    NOW = "req/s"
    BYTES = "bytes"
    MISSES = "misses"


@dataclass(frozen=True, slots=True)
class ListFocus:
    """What a list is restricted to: nothing (the whole fleet), one host, one family or one key."""

    kind: ListKind = ListKind.KEYS
    host: str | None = None
    template: str | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    ident: Key | str
    """The key, family or host of the row."""
    name: str
    """The text to show, escaped and redacted."""
    requests: int | None
    """None where nothing was measured."""
    recent: int | None
    """Requests of the last `RECENT_S` seconds; None where they are not counted."""
    misses: int | None = None
    bytes_out: int | None = None
    number: int = 0
    """The number of keys of a family, or of instances of a host."""
    timeline: tuple[int, ...] = ()
    state: str = ""

    def measure(self, sort: Sort) -> int:
        """Return the sort value; unknown values sort last."""
        known = {Sort.REQUESTS: self.requests, Sort.NOW: self.recent, Sort.BYTES: self.bytes_out}
        value = known.get(sort, self.misses)
        return -1 if value is None else value


def list_rows(
    fleet: LiveFleet,
    families: Templates,
    focus: ListFocus,
    sort: Sort,
    words: str,
    name: Callable[[Key], str],
) -> list[Row]:
    """Return the rows of a list, largest first, with `words` in their names; `name` returns the text of a key."""
    words = words.casefold()
    if focus.kind is ListKind.KEYS:
        # Only the keys that are shown become rows: there may be 100,000 keys, twice a second.
        keys = [key for key in _keys_of(fleet, families, focus) if not words or words in name(key).casefold()]
        order = _host_order(fleet, focus.host) if focus.host is not None else _key_order(fleet, sort)
        return [_key_row(fleet, focus.host, key, name) for key in nsmallest(MOST, keys, key=order)]
    rows = _template_rows(fleet, families) if focus.kind is ListKind.TEMPLATES else _host_rows(fleet, focus.key)
    found = (row for row in rows if words in row.name.casefold())
    return nsmallest(MOST, found, key=lambda row: (-row.measure(sort), -row.measure(Sort.REQUESTS), row.name))


def _keys_of(fleet: LiveFleet, families: Templates, focus: ListFocus) -> Iterable[Key]:
    if focus.host is not None:
        return fleet.hosts[focus.host].keys if focus.host in fleet.hosts else ()
    if focus.template is None:
        return fleet.keys
    return (key for key in fleet.keys if not key.truncated and families.of(key.data) == focus.template)


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
        value = bytes_out(count, fleet.sizes.get(key)) if sort is Sort.BYTES else count.misses
        # A key of unknown size may send more than one that sends nothing.
        return 0 if value is None else -value or 1, -count.requests, key

    return measure


def _key_row(fleet: LiveFleet, host: str | None, key: Key, name: Callable[[Key], str]) -> Row:
    if host is not None:
        return Row(key, name(key), fleet.hosts[host].keys[key], None)
    known = fleet.keys[key]
    count = known.count
    sent = bytes_out(count, fleet.sizes.get(key))
    return Row(key, name(key), count.requests, known.recent, count.misses, sent, timeline=tuple(count.timeline))


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
