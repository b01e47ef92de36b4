"""The report as Markdown, for an incident channel or a ticket: the causes first, then the tables.

Every name is in a code span, so it cannot become a link, a mention or markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from fleettrace.report.escape import escape_key, escape_markdown, escape_text
from fleettrace.report.host_folding import fold
from fleettrace.report.host_remarks import worst_remarks
from fleettrace.report.imbalance import HOT
from fleettrace.report.markdown_clients import clients_tables
from fleettrace.report.model import HostRow, KeyRow, Report, TemplateRow
from fleettrace.report.number_format import (
    UNKNOWN,
    full_number,
    minute,
    ops_mix,
    percent,
    rate,
    seconds,
    since,
    size,
    spread_text,
    times,
    ttl,
)
from fleettrace.report.problems import problems
from fleettrace.report.rebuilds import misses_text
from fleettrace.report.table_hosts import cause_text, split_hosts
from fleettrace.report.table_keys import by_bytes_text, no_hot_member
from fleettrace.report.timeline import sparkline
from fleettrace.text_format import plural

__all__ = ["MarkdownFormatter"]

_TIMELINE_CELLS = 10
_REMARKS = 3
"""Hosts with sentences from their own stats."""


class MarkdownFormatter:
    """Writes GitHub's Markdown, which most channels and trackers display."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the report to `out`."""
        hosts = [_causes(report), _hosts(report), _remarks(report)]
        keys = [_keys(report), clients_tables(report, _table)]
        parts = [_fleet(report), *hosts, *keys, _templates(report), _problems(report)]
        out.write("\n\n".join("\n".join(lines) for lines in parts if lines) + "\n")


def _fleet(report: Report) -> list[str]:
    info, totals = report.info, report.totals
    facts = [
        "nothing was traced" if totals.requests is None else f"**{rate(totals.rate)} requests/s**",
        f"{full_number(totals.requests)} requests",
        f"{totals.hosts_traced} of {plural(totals.hosts, 'host')} traced",
        plural(totals.instances_traced, "instance"),
    ]
    if totals.window_s is not None:
        facts.append(f"window {seconds(totals.window_s[1])}")
    if totals.coverage is not None and totals.coverage.share is not None:
        facts.append(f"coverage {percent(totals.coverage.share, 2)}")
    elif totals.coverage_unknown:
        facts.append("coverage unknown")
    facts.append(f"{totals.certified} of {plural(len(report.keys), 'key')} certified")
    if totals.missing:
        facts.append(f"missing: {_span(fold(totals.missing))}")
    title = f"### Hot keys of {_span(info.pattern)}, {minute(info.started)}"
    return [title, "", ", ".join(facts) + f" (run {_span(info.id)})"]


def _causes(report: Report) -> list[str]:
    lines = []
    for row in split_hosts(report.hosts)[0]:
        if row.cause is not None:
            before, name, after = cause_text(row.cause)
            cause = f"{before}{escape_markdown(name)}{after}"
            lines.append(f"- **{_span(row.host)} is at {times(row.load)} the mean**; {cause}")
    return lines


def _hosts(report: Report) -> list[str]:
    shown, others, untraced = split_hosts(report.hosts)
    lines = _table(["host", "state", "requests", "req/s", "share", "load"], "llrrrr", map(_host, shown))
    if others:
        loads = [row.load for row in others if row.load is not None]
        span = f" at {min(loads):.2f} to {times(max(loads))}" if loads else ""
        lines += ["", f"{plural(len(others), 'other')}{span}: {_span(fold(row.host for row in others))}"]
    if untraced:
        lines += ["", f"not traced: {_span(fold(row.host for row in untraced))}"]
    return lines


def _remarks(report: Report) -> list[str]:
    remarks, more = worst_remarks(report.hosts, _REMARKS)
    if more:
        remarks.append(f"{more:,} more evict or refuse connections")
    return [f"- {escape_markdown(remark)}" for remark in remarks]


def _host(row: HostRow) -> list[str]:
    load = f"**{times(row.load)}**" if (row.load or 0) >= HOT else times(row.load)
    return [_span(row.host), row.state.value, full_number(row.requests), rate(row.rate), percent(row.share), load]


def _keys(report: Report) -> list[str]:
    titles = [
        "key",
        "requests",
        "at most",
        "req/s",
        "share",
        "size",
        "out/s ~",
        "ttl",
        "certified",
        "ops",
        "on",
        "timeline",
    ]
    lines = _table(titles, "lrrrrrrrclll", map(_key, report.keys))
    for text in (misses_text, by_bytes_text):
        if line := text(report, lambda data: escape_markdown(escape_key(data))):
            lines = [line, "", *lines]
    return lines


def _key(row: KeyRow) -> list[str]:
    name = escape_markdown(escape_key(row.key.data))
    truncated = f" (first {len(row.key.data)} of {row.key.length} bytes)" if row.key.truncated else ""
    top = "" if row.top_host is None else f", {_span(row.top_host.host)} {percent(row.top_host.share)} of it"
    return [
        name + truncated,
        full_number(row.requests),
        "" if row.exact else f"≤ {full_number(row.requests_max)}",
        rate(row.rate),
        percent(row.share),
        _known(size(row.item.size)),
        _known(size(None if row.out_rate is None else round(row.out_rate))),
        _known(ttl(row.item.ttl_s)),
        "✓" if row.certified else "",
        ops_mix(row.ops),
        spread_text(row) + top,
        " ".join(part for part in (sparkline(row.timeline, _TIMELINE_CELLS), since(row.trend)) if part),
    ]


def _known(shown: str) -> str:
    return "" if shown == UNKNOWN else shown


def _templates(report: Report) -> list[str]:
    return _table(["template", "requests", "req/s", "share", "keys", ""], "lrrrrl", map(_template, report.templates))


def _template(row: TemplateRow) -> list[str]:
    remark = "no hot member" if no_hot_member(row) else ""
    return [
        _span(row.template),
        full_number(row.requests),
        rate(row.rate),
        percent(row.share),
        full_number(row.keys),
        remark,
    ]


def _problems(report: Report) -> list[str]:
    found = problems(report)
    if not found:
        return []
    return [
        "**Problems**",
        "",
        *(f"- {_span(hosts)}: {_span(message)}" if hosts else f"- {_span(message)}" for hosts, message in found),
    ]


def _span(text: str) -> str:
    return escape_markdown(escape_text(text))


def _table(titles: Sequence[str], aligned: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table with its columns aligned `l`, `r` or `c`; nothing without rows."""
    body = [f"| {' | '.join(cells)} |" for cells in rows]
    rule = "|".join({"l": ":--", "r": "--:", "c": ":-:"}[side] for side in aligned)
    return [f"| {' | '.join(titles)} |", f"|{rule}|", *body] if body else []
