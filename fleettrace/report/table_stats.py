"""The second section of the hosts, with `--hosts-detail`: what memcached itself reports of each over the window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleettrace.report.escape import escape_text, shorten
from fleettrace.report.host_remarks import worst_remarks
from fleettrace.report.model import HostRow, Report
from fleettrace.report.number_format import compact, percent, rate, size
from fleettrace.report.table_grid import Column, Name, Screen, grid, heading
from fleettrace.summary.host_totals import HostTotals, host_totals

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["remark_lines", "stats_part"]

_REMARKS = 3
"""Hosts with sentences in the report."""


def stats_part(report: Report, screen: Screen) -> list[RenderableType]:
    """Return the lines of the section: every host with an instance, those that evict most first."""
    rows = [(row, host_totals(row.instances)) for row in report.hosts if row.instances]
    if not rows:
        return []
    rows.sort(key=lambda item: (-(item[1].evictions or 0.0), -(item[1].bytes_out or 0.0), item[0].host))
    return [heading("memcached", "its own counters over the window"), _grid(rows, screen)]


def remark_lines(report: Report) -> list[RenderableType]:
    """Return the sentences about the hosts that evict most or refuse connections."""
    from rich.padding import Padding
    from rich.text import Text

    remarks, more = worst_remarks(report.hosts, _REMARKS)
    if more:
        remarks.append(f"{more:,} more evict or refuse connections: --hosts-detail lists all")
    return [Padding(Text(remark, "yellow", overflow="fold"), (0, 0, 0, 2)) for remark in remarks]


def _grid(rows: Sequence[tuple[HostRow, HostTotals]], screen: Screen) -> RenderableType:
    known = [totals for _, totals in rows]
    columns = [
        Column("host", [shorten(escape_text(row.host), 32, screen.ellipsis) for row, _ in rows], right=False),
        Column("hits", [percent(one.hit_ratio) for one in known]),
        Column("evicted/s", [rate(one.evictions) for one in known]),
        Column("expired/s", [rate(one.expired) for one in known]) if screen.wide else Column(""),
        Column("in/s", [_bytes(one.bytes_in) for one in known]),
        Column("out/s", [_bytes(one.bytes_out) for one in known]),
        Column("conns", [_count(one.connections) for one in known]),
        Column("new/s", [rate(one.new_connections) for one in known]),
        Column("refused", [_count(one.refused) for one in known]),
        Column("yields", [_count(one.yields) for one in known]) if screen.wide else Column(""),
    ]
    return grid(screen, columns, "memory", [Name(_memory(one, screen), style="dim") for one in known])


def _bytes(per_second: float | None) -> str:
    return size(None if per_second is None else round(per_second))


def _count(number: int | None) -> str:
    return compact(number)


def _memory(totals: HostTotals, screen: Screen) -> str:
    used, limit = totals.memory_used, totals.memory_limit
    if used is not None and limit and not screen.roomy:
        return f"{percent(used / limit, 0)} {size(limit)}"
    threads = "" if totals.threads is None else f", {totals.threads} threads"
    if used is None or not limit:
        return "?" + threads
    return f"{size(used)} of {size(limit)} ({percent(used / limit, 0)}){threads}"
