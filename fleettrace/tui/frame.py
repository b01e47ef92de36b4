"""One screen of `fleettrace top` as lines of text, each as wide as the terminal at most. Pure.

From 80 columns and 24 lines up everything fits; on less it is cut, and stays harmless.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fleettrace.report.escape import escape_text
from fleettrace.report.host_folding import fold
from fleettrace.report.number_format import compact, full_number, ops_mix, percent, rate, size
from fleettrace.report.table_grid import Column, Name, Screen, grid
from fleettrace.report.timeline import sparkline
from fleettrace.tui.rows import ListFocus, ListKind, Row, Sort
from fleettrace.tui.view import LiveView

__all__ = ["Line", "frame"]

_KEYS = "q quit  p pause  s save  k keys  t families  h hosts  rnbm sort  / find  ? help"
_HELP = (
    ("k t h", "the fleet's keys, families of keys, hosts"),
    ("Enter", "into the selected key: its hosts; into a family or host: its keys"),
    ("Esc", "back"),
    ("r n b m", "sort by requests, by req/s now, by bytes sent, by misses"),
    ("/", "only names with these letters; Enter keeps the filter, Esc drops it"),
    ("p", "pause the display, or go on; the trace goes on meanwhile"),
    ("s", "save the run as JSON when it ends"),
    ("q", "end the trace and report what was counted; so does Ctrl-C"),
    ("arrows", "select; Page Up, Page Down, Home and End too"),
)
_ABOUT = (
    "Requests are those that have arrived so far, req/s those of the last 5 seconds. The trace ends by itself; the "
    "report is made from the hosts' own counts, with bounds for what was not seen."
)


class Line(NamedTuple):
    """A line of the screen."""

    text: str
    style: str = ""
    """`bold`, `dim`, `reverse` or nothing."""


def frame(view: LiveView, width: int, height: int, at: float, *, unicode: bool = True) -> list[Line]:
    """Return the screen at a time of the view's clock: at most `height` lines of `width` columns."""
    paper = Screen(width, ascii_only=not unicode)
    rows = view.rows(at)
    head = [Line(_status(view, view.now(at)), "bold"), Line(_title(view))]
    foot = [_foot(view)]
    room = height - len(head) - len(foot)
    body = _help(width) if view.help else _list(view, rows, room, paper)
    lines = [*head, *body[: max(room, 0)]]
    lines += [Line("")] * (height - len(lines) - len(foot)) + foot
    return [Line(_fitted(line.text, width), line.style) for line in lines[:height]]


def _status(view: LiveView, at: float) -> str:
    fleet = view.fleet
    since = 0.0 if fleet.began is None else min(at - fleet.began, fleet.seconds)
    parts = [f"{since:.0f} of {fleet.seconds:g} s", f"{fleet.tracing}/{fleet.selected} hosts tracing"]
    parts += [f"{len(fleet.failed)} failed"] if fleet.failed else []
    parts += [f"{compact(fleet.recent / fleet.span_s)} req/s", f"{compact(fleet.requests)} requests"]
    parts.append(escape_text(view.pattern))  # The only part that may be cut.
    return "  ".join(parts)


def _title(view: LiveView) -> str:
    focus = view.focus
    of = ""
    if focus.host is not None:
        of = f" of host {escape_text(focus.host)}"
    elif focus.template is not None:
        of = f" of family {escape_text(focus.template)}"
    elif focus.key is not None:
        of = f" of key {view.name(focus.key)}"
    parts = ["PAUSED"] if view.paused_at is not None else []
    parts.append(f"{focus.kind.value.upper()}{of} by {view.sort.value}")
    parts += [f"with {escape_text(view.filter)!r}"] if view.filter and not view.typing else []
    return "  ".join(parts)


def _foot(view: LiveView) -> Line:
    if view.typing:
        return Line(f"/{escape_text(view.filter)}_   Enter keeps the filter, Esc drops it", "reverse")
    return Line(view.message or _KEYS, "reverse")


def _help(width: int) -> list[Line]:
    keys = [Line(f"  {key:<8}  {words}") for key, words in _HELP]
    about = [Line(f"  {line}") for line in _wrap(_ABOUT, width)]
    return [Line(""), *keys, Line(""), *about, Line(""), Line("  any key: back")]


def _wrap(words: str, width: int) -> list[str]:
    """Wrap a text, with room for an indent of two cells."""
    return textwrap.wrap(words, max(width - 2, 20))


def _list(view: LiveView, rows: Sequence[Row], room: int, paper: Screen) -> list[Line]:
    above = [Line(f"  {line}", "dim") for words in _remarks(view, rows) for line in _wrap(words, paper.width or 80)]
    if not rows:
        return [*above, *(Line(f"  {line}", "dim") for line in _wrap(_nothing(view), paper.width or 80))]
    visible = max(room - len(above) - 1, 1)
    first = max(0, min(view.cursor - visible // 2, len(rows) - visible))
    shown = rows[first : first + visible]
    names = [Name(row.name) for row in shown]
    columns = _columns(view, shown, paper)
    titles, *lines = grid(paper, columns, view.focus.kind.value, names).plain.split("\n")
    marked = [
        Line(text, "reverse" if first + index == view.cursor else "") for index, text in enumerate(lines)
    ]  # fmt: skip
    return [*above, Line(titles, "dim"), *marked]


def _remarks(view: LiveView, rows: Sequence[Row]) -> list[str]:
    """The lines above the list."""
    remarks = []
    known = view.fleet.keys.get(view.focus.key) if view.focus.key is not None else None
    if known is not None:
        share = known.count.requests / max(view.fleet.requests, 1)
        facts = [
            f"{full_number(known.count.requests)} requests",
            f"{percent(share)} of the fleet",
            ops_mix(known.count.ops),
        ]
        remarks.append(", ".join(facts))
    host = view.fleet.hosts.get(view.focus.host) if view.focus.host is not None else None
    if host is not None:
        state = host.phase if host.state is None else host.state.value
        remarks.append(f"{state}, {full_number(host.requests)} requests" if host.measured else f"{state}, not measured")
        remarks += [escape_text(host.message)] if host.message else []
    unknown = {
        Sort.BYTES: "bytes are not known here before a host's window ends",
        Sort.MISSES: "misses are not known here",
    }.get(view.sort)
    if rows and unknown is not None and all(row.measure(view.sort) <= 0 for row in rows):
        remarks.append(f"{unknown}: ordered by requests")
    return remarks


def _nothing(view: LiveView) -> str:
    fleet = view.fleet
    if view.focus.kind is not ListKind.HOSTS and not view.names:
        return "names are dropped (--redact=drop): there are only hosts to see"
    if view.focus.kind is ListKind.TEMPLATES and view.renamed:
        return "pseudonyms have no families; with --redact=template the report at the end has them"
    if view.filter:
        return "no name has these letters in it"
    if fleet.requests:
        return "none was seen"
    phases = Counter(host.phase for host in fleet.hosts.values() if host.state is None)
    busy = ", ".join(f"{number} in {phase}" for phase, number in phases.items())
    failed = f"; failed: {escape_text(fold(fleet.failed))}" if fleet.failed else ""
    return f"nothing counted yet: {busy or 'no host is busy'}{failed}"


def _columns(view: LiveView, rows: Sequence[Row], paper: Screen) -> list[Column]:
    focus, fleet = view.focus, view.fleet
    base = _base(view)
    recent = any(row.recent is not None for row in rows)
    columns = [
        Column("requests", [full_number(row.requests) for row in rows]),
        Column("req/s", [_rate(row, fleet.span_s) for row in rows] if recent else [""] * len(rows)),
        Column("share", [percent(row.requests / base if base and row.requests is not None else None) for row in rows]),
    ]
    if any(row.misses is not None for row in rows):
        columns.append(Column("misses", [compact(row.misses) for row in rows]))
    if any(row.bytes_out is not None for row in rows):
        columns.append(Column("bytes ~", [size(row.bytes_out) for row in rows]))
    if focus == ListFocus() or focus.template is not None:
        columns.append(Column("on", [_on(view, row) for row in rows], right=False))
    if focus.kind is ListKind.TEMPLATES:
        columns.append(Column("keys", [full_number(row.number) for row in rows]))
    if focus.kind is ListKind.HOSTS:
        columns.append(Column("inst", [str(row.number) for row in rows]))
        columns.append(Column("state", [row.state for row in rows], right=False))
    if any(row.timeline for row in rows):
        columns.append(Column("timeline", [_timeline(row, fleet.buckets, paper) for row in rows], right=False))
    return columns


def _base(view: LiveView) -> int:
    """The base of shares: the requests of the fleet, or of the host or key of the list."""
    if view.focus.host is not None:
        host = view.fleet.hosts.get(view.focus.host)
        return 0 if host is None else host.requests
    if view.focus.key is not None:
        known = view.fleet.keys.get(view.focus.key)
        return 0 if known is None else known.count.requests
    return view.fleet.requests


def _rate(row: Row, span: float) -> str:
    return rate(None if row.recent is None else row.recent / span)


def _on(view: LiveView, row: Row) -> str:
    """The host of a key, or the number of its hosts."""
    hosts = view.fleet.hosts_of(row.ident) if not isinstance(row.ident, str) else []
    return escape_text(hosts[0][0]) if len(hosts) == 1 else f"{len(hosts)} hosts"


def _timeline(row: Row, buckets: int, paper: Screen) -> str:
    timeline = (*row.timeline, *(0,) * (buckets - len(row.timeline)))
    return sparkline(timeline[:buckets], 20 if paper.wide else 8, ascii_only=paper.ascii_only)


def _fitted(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width)
