"""The report as a text table: the fleet, the hosts, the keys, their families, the problems.

On a terminal, lines fit its width (80 columns or more), and long names are shortened in their middle. In a pipe,
nothing is shortened or colored.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, TextIO

from fleettrace.report.escape import escape_text
from fleettrace.report.host_folding import fold
from fleettrace.report.interface import FormatOptions
from fleettrace.report.model import Report
from fleettrace.report.number_format import full_number, minute, percent, rate, seconds
from fleettrace.report.problems import problems
from fleettrace.report.table_clients import hosts_clients_part, keys_clients_part
from fleettrace.report.table_grid import Screen, heading
from fleettrace.report.table_hosts import hosts_part
from fleettrace.report.table_keys import keys_part, templates_part
from fleettrace.report.table_stats import remark_lines, stats_part
from fleettrace.text_format import plural

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

__all__ = ["TableFormatter"]

_ENDLESS = 100_000
"""Columns for a pipe: no line is wrapped."""

_FULL = 0.99
"""Coverage below this is highlighted."""


class TableFormatter:
    """Writes the report for readers at a terminal or in a pipe."""

    def __init__(self, options: FormatOptions) -> None:
        self._options = options

    def write(self, report: Report, out: TextIO) -> None:
        """Write the table to `out`."""
        options = self._options
        screen = Screen(options.width, ascii_only=not options.unicode)
        text = StringIO()
        console = _console(options, text)
        parts = [
            _fleet_part(report, screen),
            [*hosts_part(report, screen), *remark_lines(report)],
            stats_part(report, screen) if options.hosts_detail else [],
            keys_part(report, screen),
            keys_clients_part(report, screen),
            hosts_clients_part(report, screen),
            templates_part(report, screen),
            _problems_part(report),
        ]
        for index, lines in enumerate(part for part in parts if part):
            if index:
                console.print()
            for line in lines:
                console.print(line)
        out.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def _console(options: FormatOptions, text: StringIO) -> Console:
    from rich.console import Console

    return Console(
        file=text,
        width=options.width or _ENDLESS,
        color_system="standard" if options.color else None,
        force_terminal=options.color,
        force_interactive=False,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=options.width is None,
        legacy_windows=False,
        # The options already contain what the environment decides.
        _environ={},
    )


def _fleet_part(report: Report, screen: Screen) -> list[RenderableType]:
    """Return the title, then the facts of the fleet, as many on a line as fit."""
    from rich.text import Text

    info = report.info
    title = Text.assemble((escape_text(info.pattern), "bold"), f"  {minute(info.started)}  run {escape_text(info.id)}")
    return [title, *_flowed(_facts(report), screen.width)]


def _facts(report: Report) -> list[Text]:
    from rich.text import Text

    totals = report.totals
    if totals.requests is None:
        facts = [Text("nothing was traced", "bold red")]
    else:
        facts = [Text(f"{rate(totals.rate)} requests/s", "bold"), Text(f"{full_number(totals.requests)} requests")]
    hosts = f"{totals.hosts_traced} of {plural(totals.hosts, 'host')} traced"
    facts.append(Text(hosts, "" if not totals.missing else "bold yellow"))
    facts.append(Text(plural(totals.instances_traced, "instance")))
    if totals.window_s is not None:
        shortest, longest = totals.window_s
        same = f"{shortest:.1f}" == f"{longest:.1f}"
        facts.append(Text(f"window {seconds(longest)}" if same else f"windows {shortest:.1f} to {seconds(longest)}"))
    if totals.coverage is not None and totals.coverage.share is not None:
        share = totals.coverage.share
        facts.append(Text(f"coverage {percent(share, 2)}", "" if share >= _FULL else "bold yellow"))
    elif totals.coverage_unknown:
        facts.append(Text("coverage unknown", "bold yellow"))
    if totals.missing:
        facts.append(Text(f"missing: {escape_text(fold(totals.missing))}", "bold yellow"))
    return facts


def _flowed(facts: list[Text], width: int | None) -> list[Text]:
    from rich.text import Text

    lines: list[Text] = []
    for fact in facts:
        if lines and (width is None or lines[-1].cell_len + 3 + fact.cell_len <= width):
            lines[-1].append("   ").append_text(fact)
        else:
            lines.append(Text().append_text(fact))
    return lines


def _problems_part(report: Report) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    lines: list[RenderableType] = []
    for hosts, message in problems(report):
        lead = f"{hosts}: " if hosts else ""
        lines.append(Padding(Text.assemble((lead, "bold"), message, overflow="fold"), (0, 0, 0, 2)))
    return [heading("problems"), *lines] if lines else []
