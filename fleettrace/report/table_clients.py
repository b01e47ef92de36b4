"""The sections of the clients (`--clients`): the busiest ones of each host, and those of each key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleettrace.report.clients import Clients
from fleettrace.report.clients_text import proxy_remark, shown_clients
from fleettrace.report.escape import escape_key, escape_text, shorten
from fleettrace.report.model import Report
from fleettrace.report.table_grid import Column, Name, Screen, grid, heading
from fleettrace.report.table_hosts import split_hosts

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["hosts_clients_part", "keys_clients_part"]

_SHOWN, _SHOWN_WIDE = 2, 5
"""Clients of each host or key on a narrow and on a wide screen."""
_NAME, _NAME_WIDE = 24, 48
"""Cells of the name of a host or a key."""


def hosts_clients_part(report: Report, screen: Screen) -> list[RenderableType]:
    """Return the lines of the hosts' clients; none where no host counted by client."""
    rows = [(escape_text(row.host), row.clients) for row in split_hosts(report.hosts)[0] if row.clients is not None]
    return _table("clients of hosts", "host", rows, screen)


def keys_clients_part(report: Report, screen: Screen) -> list[RenderableType]:
    """Return the lines of the keys' clients; none where no host counted by client."""
    rows = [(escape_key(row.key.data), row.clients) for row in report.keys if row.clients is not None]
    return _table("clients of keys", "key", rows, screen)


def _table(title: str, of: str, rows: Sequence[tuple[str, Clients]], screen: Screen) -> list[RenderableType]:
    if not rows:
        return []
    widest, shown = (_NAME_WIDE, _SHOWN_WIDE) if screen.wide else (_NAME, _SHOWN)
    names = [name if screen.width is None else shorten(name, widest, screen.ellipsis) for name, _ in rows]
    asked_by = [Name(shown_clients(clients, shown), proxy_remark(clients)) for _, clients in rows]
    return [heading(title), grid(screen, [Column(of, names, right=False)], "asked by", asked_by)]
