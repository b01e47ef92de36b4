"""The section of the hosts: their load, and the cause of a high one.

In a large fleet, only the hottest hosts have a line each; the others share one, and the failed ones another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleettrace.errors import HostState
from fleettrace.report.escape import escape_key, escape_text, shorten
from fleettrace.report.host_folding import fold
from fleettrace.report.imbalance import HOT, Cause, CauseKind
from fleettrace.report.model import HostRow, Report
from fleettrace.report.number_format import bar, percent, rate, since, times
from fleettrace.report.table_grid import Column, Name, Screen, grid, heading
from fleettrace.report.timeline import Trend
from fleettrace.text_format import plural

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["cause_text", "hosts_part", "split_hosts"]

_SHOWN = 5
"""The number of hosts with a line each when none is hot."""

_SHOWN_MOST = 10
"""The most hosts with a line each; in a fleet of at most this many, every host has one."""

_VERY_HOT = 2.0
_BAR = 20
_BAR_WIDE = 40


def hosts_part(report: Report, screen: Screen) -> list[RenderableType]:
    """Return the lines of the section."""
    shown, others, untraced = split_hosts(report.hosts)
    lines: list[RenderableType] = [heading("hosts", _remark(report))]
    trends = {row.key: row.trend for row in report.keys}
    for row in shown:
        if row.cause is not None:
            lines += _cause_lines(row, None if row.cause.key is None else trends.get(row.cause.key), screen)
    if shown:
        lines.append(_grid(shown, screen))
    if others:
        lines.append(_others_line(others, screen))
    if untraced:
        lines.append(_untraced_line(untraced))
    return lines


def split_hosts(hosts: Sequence[HostRow]) -> tuple[list[HostRow], list[HostRow], list[HostRow]]:
    """Return the hosts with a line each (hottest first), the other traced ones, and those without traffic."""
    traced = sorted((row for row in hosts if row.traced), key=lambda row: (-(row.rate or 0.0), row.host))
    hot = sum((row.load or 0) >= HOT for row in traced)
    number = len(traced) if len(traced) <= _SHOWN_MOST else min(max(hot, _SHOWN), _SHOWN_MOST)
    return traced[:number], traced[number:], [row for row in hosts if not row.traced]


def cause_text(cause: Cause) -> tuple[str, str, str]:
    """Return the cause as text, an escaped name (or an empty one) and text."""
    if cause.key is not None:
        return "without ", escape_key(cause.key.data), f" it would be at {times(cause.load_without)}"
    if cause.template is not None:
        return "without the family ", escape_text(cause.template), f" it would be at {times(cause.load_without)}"
    if cause.kind is CauseKind.INSTANCES:
        return f"it runs more instances than others: per instance it is at {times(cause.load_without)}", "", ""
    return "no single key or family is the cause: many keys are hotter here, or it has more of them", "", ""


def _remark(report: Report) -> str:
    totals = report.totals
    if totals.rate is None or totals.imbalance is None:
        return ""
    even = "  evenly loaded" if totals.imbalance < HOT else ""
    mean = rate(totals.rate / totals.hosts_traced)
    return f"hottest at {times(totals.imbalance)} the mean of {mean} requests/s{even}"


def _grid(rows: Sequence[HostRow], screen: Screen) -> RenderableType:
    highest = max((row.load or 0.0 for row in rows), default=0.0)
    cells = _BAR_WIDE if screen.wide else _BAR
    has_loads = any(row.load is not None for row in rows)
    columns = [
        Column("host", [shorten(escape_text(row.host), 32, screen.ellipsis) for row in rows], right=False),
        Column("state", [_state(row) for row in rows], right=False),
        Column("req/s", [rate(row.rate) for row in rows]),
        Column("share", [percent(row.share) for row in rows]),
        Column("load", [_styled(times(row.load), row.load) if has_loads else "" for row in rows]),
        Column("", [_bar(row.load, highest, cells, screen) if has_loads else "" for row in rows], right=False),
    ]
    return grid(screen, columns, "instances", [Name(_instances(row), style="dim") for row in rows])


def _state(row: HostRow) -> Text:
    from rich.text import Text

    return Text(row.state.value, "green" if row.state is HostState.OK else "yellow")


def _styled(text: str, load: float | None) -> Text:
    from rich.text import Text

    return Text(text, _heat(load))


def _heat(load: float | None) -> str:
    if load is None or load < HOT:
        return ""
    return "bold red" if load >= _VERY_HOT else "bold yellow"


def _bar(load: float | None, highest: float, cells: int, screen: Screen) -> Text:
    from rich.text import Text

    if load is None:
        return Text("")
    below, above, rest = bar(load, highest, cells, ascii_only=screen.ascii_only)
    return Text.assemble((below, "cyan"), (above, _heat(load) or "cyan"), (rest, "dim"))


def _instances(row: HostRow) -> str:
    """Return the instances of the host: containers by name, others by port."""
    names = []
    for instance in row.instances:
        ports = ",".join(f":{port}" for port in instance.ports) or f"pid {instance.pid}"
        container = instance.container
        names.append(ports if container is None else f"{ports} {container.name or container.id[:12]}")
    return escape_text("; ".join(names))


def _cause_lines(row: HostRow, trend: Trend | None, screen: Screen) -> list[RenderableType]:
    """Return the host, the cause and its start: on one line if they fit, else the cause on a second line."""
    from rich.padding import Padding
    from rich.text import Text

    assert row.cause is not None
    before, name, after = cause_text(row.cause)
    arrow = "->" if screen.ascii_only else "→"
    lead = Text.assemble((f"{arrow} ", "bold red"), f"{escape_text(row.host)} is at {times(row.load)} the mean;")
    when = f" ({since(trend)})" if trend is not None else ""
    indent = 2 + len(arrow) + 1
    room = None if screen.width is None else screen.width - indent
    fitted = name if room is None else shorten(name, max(room - len(before + when + after), 16), screen.ellipsis)
    cause = Text.assemble(before, (fitted, "bold"), (when, "yellow"), after)
    if screen.width is None or 2 + lead.cell_len + 1 + cause.cell_len <= screen.width:
        return [Padding(lead.append(" ").append_text(cause), (0, 0, 0, 2))]
    return [Padding(lead, (0, 0, 0, 2)), Padding(cause, (0, 0, 0, indent))]


def _others_line(rows: Sequence[HostRow], screen: Screen) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    known = [row.load for row in rows if row.load is not None]
    span = f" at {min(known):.2f} to {times(max(known))}" if known else ""
    line = Text(f"{plural(len(rows), 'other')}{span}", "dim")
    names = escape_text(fold(row.host for row in rows))
    if screen.width is None or len(line) + len(names) + 6 <= screen.width:
        line.append(f": {names}", "dim")
    return Padding(line, (0, 0, 0, 2))


def _untraced_line(rows: Sequence[HostRow]) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    by_state: dict[HostState, list[str]] = {}
    for row in rows:
        by_state.setdefault(row.state, []).append(row.host)
    line = Text()
    for state, names in sorted(by_state.items(), key=lambda item: (-len(item[1]), item[0])):
        harmless = state in (HostState.NO_INSTANCES, HostState.SKIPPED)
        line.append("; " if line else "")
        line.append(state.value, "yellow" if harmless else "bold red")
        line.append(f" {escape_text(fold(names))}")
    return Padding(line, (0, 0, 0, 2))
