"""The tables of the clients (`--clients`) in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fleettrace.report.clients import Clients
from fleettrace.report.clients_text import proxy_remark, shown_clients
from fleettrace.report.escape import escape_key, escape_markdown, escape_text
from fleettrace.report.model import Report
from fleettrace.report.table_hosts import split_hosts

__all__ = ["clients_tables"]

_SHOWN = 5
Table = Callable[[Sequence[str], str, Iterable[Sequence[str]]], list[str]]


def clients_tables(report: Report, table: Table) -> list[str]:
    """Return the tables of the clients of hosts and of keys, made by `table`; nothing where none were counted."""
    hosts = [(escape_text(row.host), row.clients) for row in split_hosts(report.hosts)[0] if row.clients is not None]
    keys = [(escape_key(row.key.data), row.clients) for row in report.keys if row.clients is not None]
    of_hosts = table(["host", "asked by", ""], "lll", [_row(*row) for row in hosts])
    of_keys = table(["key", "asked by", ""], "lll", [_row(*row) for row in keys])
    return [*of_keys, "", *of_hosts] if of_hosts and of_keys else of_keys + of_hosts


def _row(name: str, clients: Clients) -> list[str]:
    return [escape_markdown(name), shown_clients(clients, _SHOWN), proxy_remark(clients)]
