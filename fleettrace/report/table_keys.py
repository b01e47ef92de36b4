"""The sections of the keys and of their families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.items import Sort
from fleettrace.report.model import KeyRow, Report, Spread, TemplateRow
from fleettrace.report.number_format import compact, full_number, ops_mix, percent, rate, since, size, spread_text, ttl
from fleettrace.report.rebuilds import misses_text
from fleettrace.report.table_grid import Column, Name, Screen, grid, heading
from fleettrace.report.timeline import sparkline

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["by_bytes_text", "certified_text", "keys_part", "no_hot_member", "templates_part"]

_TIMELINE_CELLS = 8
_TIMELINE_CELLS_WIDE = 20
_OPS = 2
"""The number of ops shown on a terminal, the most frequent ones."""

_HOT_SHARE = 0.1
"""From this part of the fleet's traffic on, a key is highlighted."""

_HOT_MEMBER = 0.05
"""A family has a hot member if its hottest one has at least this part of its requests. With a popularity by Zipf's law,
as is usual, the first of a thousand members has about 10 %."""


def keys_part(report: Report, screen: Screen) -> list[RenderableType]:
    """Return the lines of the keys."""
    rows = report.keys
    if not rows:
        return [heading("keys", "none")]
    sign = "*" if screen.ascii_only else "✓"
    traced = report.totals.hosts_traced
    at_most = "<=" if screen.ascii_only else "≤"
    columns = [
        Column("", [_styled(sign if row.certified else "", "bold green") for row in rows], right=False),
        Column("requests", [full_number(row.requests) for row in rows]),
        Column("at most", ["" if row.exact else f"{at_most}{_at_most(row, screen)}" for row in rows], style="dim"),
        Column("req/s", [rate(row.rate) if screen.wide else compact(row.rate) for row in rows]),
        Column("share", [_styled(percent(row.share), _heat(row)) for row in rows]),
        *_optional_columns(report, screen),
        *_where(rows, traced, screen),
        Column("timeline", [_timeline(row, screen) for row in rows], right=False),
    ]
    names = [
        Name(_key(row), since(row.trend, short=not screen.wide), "bold" if (row.share or 0) >= _HOT_SHARE else "")
        for row in rows
    ]
    order = "" if report.sort is Sort.REQUESTS else f"by {report.sort.value}; "
    lines: list[RenderableType] = [heading("keys", order + certified_text(report, sign))]
    if report.by_bytes is not None:
        lines.append(_remark(by_bytes_text(report, escape_key), "bold yellow"))
    if missed := misses_text(report, escape_key):
        lines.append(_remark(missed, "yellow"))
    return [*lines, grid(screen, columns, "key", names)]


def _remark(text: str, style: str) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(text, style, overflow="fold"), (0, 0, 0, 2))


def by_bytes_text(report: Report, shown: Callable[[bytes], str]) -> str:
    """Return the line about the key that sends most bytes. `shown` escapes a key."""
    found = report.by_bytes
    if found is None:
        return ""
    sent = f"{size(found.bytes_out)} sent" if found.out_rate is None else f"{size(round(found.out_rate))}/s"
    place = next((number for number, row in enumerate(report.keys, 1) if row.key == found.key), None)
    rank = f"below the top {report.top}" if place is None else f"place {place}"
    by_requests = f"; by requests: {rank}" if report.sort in (Sort.REQUESTS, Sort.RATE) else ""
    return (
        f"by bytes: {shown(found.key.data)} is about {sent}, {percent(found.share, 0)} of all bytes sent"
        f"{'' if found.all_sent else ' by keys of known size'}{by_requests}"
    )


def certified_text(report: Report, sign: str) -> str:
    """Return how many of the keys are certified."""
    totals = report.totals
    if totals.missing:
        return "none is certified: hosts are missing"
    if not totals.certified:
        return f"none is certified to be in the top {report.top}"
    order = "" if report.sort in (Sort.REQUESTS, Sort.RATE) else " by requests"
    return f"{sign} {totals.certified} of {len(report.keys)} certified: provably in the top {report.top}{order}"


def templates_part(report: Report, screen: Screen) -> list[RenderableType]:
    """Return the lines of the families; none without families."""
    rows = report.templates
    if not rows:
        return []
    columns = [
        Column("requests", [full_number(row.requests) for row in rows]),
        Column("req/s", [rate(row.rate) if screen.wide else compact(row.rate) for row in rows]),
        Column("share", [percent(row.share) for row in rows]),
        Column("keys", [full_number(row.keys) for row in rows]),
        Column("top key", [_hottest(row) for row in rows]),
    ]
    names = [Name(escape_text(row.template), "no hot member" if no_hot_member(row) else "") for row in rows]
    return [heading("families of keys"), grid(screen, columns, "template", names)]


def no_hot_member(row: TemplateRow) -> bool:
    """Return whether no single member is hot, so that no single key is the cause."""
    return row.hottest is not None and row.keys > 1 and row.hottest < _HOT_MEMBER * row.requests


def _hottest(row: TemplateRow) -> str:
    return "" if row.hottest is None or not row.requests else percent(row.hottest / row.requests)


def _at_most(row: KeyRow, screen: Screen) -> str:
    # Short numbers are rounded up to three digits: an upper bound must not become too low.
    return full_number(row.requests_max) if screen.wide else compact(_round_up(row.requests_max))


def _round_up(number: int) -> int:
    step = int(10 ** max(len(str(number)) - 3, 0))
    return -(-number // step) * step


def _optional_columns(report: Report, screen: Screen) -> list[Column]:
    """Return the columns with a known value for any key, if there is room or the keys are ordered by them."""
    rows, columns = report.keys, []
    if screen.roomy and any(row.ops is not None for row in rows):
        columns.append(
            Column("ops", [ops_mix(row.ops, None if screen.width is None else _OPS) for row in rows], right=False)
        )
    if (screen.wide or report.sort is Sort.MISSES) and any(row.misses is not None for row in rows):
        columns.append(Column("misses", [full_number(row.misses) for row in rows]))
    return columns + _item_columns(report, screen)


def _item_columns(report: Report, screen: Screen) -> list[Column]:
    rows, columns, by_bytes = report.keys, [], report.sort is Sort.BYTES
    if (screen.widest or by_bytes) and any(row.item.size is not None for row in rows):
        columns.append(Column("size", [size(row.item.size) for row in rows]))
    if (screen.roomy or by_bytes) and any(row.bytes_out is not None for row in rows):
        columns.append(Column("out/s ~", [_out_rate(row) for row in rows]))
    elif screen.wide and any(row.value_bytes is not None for row in rows):
        columns.append(Column("written", [size(row.value_bytes) for row in rows]))
    if (screen.widest or by_bytes) and any(row.item.ttl_s is not None for row in rows):
        columns.append(Column("ttl", [ttl(row.item.ttl_s) for row in rows]))
    return columns


def _out_rate(row: KeyRow) -> str:
    return size(None if row.out_rate is None else round(row.out_rate))


def _where(rows: Sequence[KeyRow], traced: int, screen: Screen) -> list[Column]:
    """Return the spread and the hottest host of each key; on a narrow screen in one column: `all 61`, `cache-008
    +1`."""
    if not screen.wide:
        return [Column("on", [_where_narrow(row, traced) for row in rows], right=False)]
    tops = [row.top_host for row in rows]
    return [
        Column("spread", [spread_text(row) for row in rows], right=False),
        Column("hottest on", ["" if top is None else escape_text(top.host) for top in tops], right=False),
        Column("of it", ["" if top is None else percent(top.share) for top in tops]),
    ]


def _where_narrow(row: KeyRow, traced: int) -> str:
    if row.spread is Spread.EVERYWHERE:
        return f"all {row.hosts}" if row.hosts >= traced else f"{row.hosts} of {traced}"
    name = "?" if row.top_host is None else escape_text(row.top_host.host)
    return name if row.hosts <= 1 else f"{name} +{row.hosts - 1}"


def _timeline(row: KeyRow, screen: Screen) -> Text:
    cells = _TIMELINE_CELLS_WIDE if screen.wide else _TIMELINE_CELLS
    return _styled(sparkline(row.timeline, cells, ascii_only=screen.ascii_only), "yellow" if row.trend else "cyan")


def _key(row: KeyRow) -> str:
    truncated = f" (first {len(row.key.data)} of {row.key.length} bytes)" if row.key.truncated else ""
    return escape_key(row.key.data) + truncated


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style)


def _heat(row: KeyRow) -> str:
    return "bold red" if (row.share or 0) >= _HOT_SHARE else ""
