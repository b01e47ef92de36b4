r"""The report as CSV (RFC 4180): one table, a row each for the fleet, every host, key and template.

A spreadsheet executes a cell that begins with `=`, `+`, `-` or `@`; if its separator is `;`, also text after a `;`.
In names such a character is written as an escape (`\x3dcmd`), like the others that `escape.py` escapes; `unescape_key`
reverses it. An empty cell means "not known" or "does not apply".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, TextIO

from fleettrace.report.clients import Clients
from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.imbalance import Cause
from fleettrace.report.model import HostRow, KeyRow, Report, TemplateRow, Totals
from fleettrace.summary.counts import OPS
from fleettrace.summary.host_totals import host_totals

__all__ = ["COLUMNS", "CsvFormatter", "rows"]

COLUMNS = (
    "kind",
    "name",
    "state",
    "requests",
    "requests_max",
    "rate",
    "share",
    "certified",
    "truncated",
    "hosts",
    "spread",
    "top_host",
    "top_host_requests",
    "load",
    "cause",
    "load_without",
    *OPS,
    "misses",
    "miss_cause",
    "value_bytes",
    "size",
    "ttl_s",
    "last_access_s",
    "slab_class",
    "bytes_out",
    "out_rate",
    "unknown",
    "keys",
    "hottest",
    "trend",
    "trend_at_s",
    "coverage",
    "error",
    "hit_ratio",
    "evictions_rate",
    "bytes_in_rate",
    "bytes_out_rate",
    "connections",
    "top_client",
    "top_client_requests",
    "clients_unknown",
)

_FORMULA = re.compile(r"(?:^|(?<=;))[=+\-@'\"＝＋－＠]")
"""Characters that begin a formula, including the full-width forms, which some spreadsheets accept."""


class CsvFormatter:
    """Writes one table with a header."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the table to `out`, which must not translate newlines: lines end in CR LF."""
        writer = csv.DictWriter(out, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows(report))


def rows(report: Report) -> Iterable[dict[str, Any]]:
    """Yield the rows of the table, the fleet's first."""
    yield _fleet(report.totals, report.info.pattern)
    yield from (_host(row) for row in report.hosts)
    yield from (_key(row) for row in report.keys)
    yield from (_template(row) for row in report.templates)


def _inert(shown: str) -> str:
    """A visible name that no spreadsheet takes for a formula."""
    return _FORMULA.sub(lambda found: _escape(found[0]), shown)


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if char.isascii() else f"\\u{ord(char):04x}"


def _safe_text(text: str) -> str:
    return _inert(escape_text(text))


def _fleet(totals: Totals, pattern: str) -> dict[str, Any]:
    return {
        "kind": "fleet",
        "name": _safe_text(pattern),
        "requests": totals.requests,
        "rate": totals.rate,
        "certified": totals.certified,
        "hosts": totals.hosts_traced,
        "load": totals.imbalance,
        "keys": totals.distinct,
        "coverage": None if totals.coverage is None else totals.coverage.share,
    }


def _host(row: HostRow) -> dict[str, Any]:
    stats = host_totals(row.instances)
    return {
        "kind": "host",
        "name": _safe_text(row.host),
        "state": row.state.value,
        "requests": row.requests,
        "rate": row.rate,
        "share": row.share,
        "load": row.load,
        "cause": None if row.cause is None else _cause(row.cause),
        "load_without": None if row.cause is None else row.cause.load_without,
        "coverage": None if row.coverage is None else row.coverage.share,
        "hit_ratio": stats.hit_ratio,
        "evictions_rate": stats.evictions,
        "bytes_in_rate": stats.bytes_in,
        "bytes_out_rate": stats.bytes_out,
        "connections": stats.connections,
        "error": None if row.error is None else _safe_text(row.error.message),
        **_clients(row.clients),
    }


def _cause(cause: Cause) -> str:
    if cause.key is not None:
        return _inert(escape_key(cause.key.data))
    return cause.kind.value if cause.template is None else _safe_text(cause.template)


def _key(row: KeyRow) -> dict[str, Any]:
    return {
        "kind": "key",
        "name": _inert(escape_key(row.key.data)),
        "requests": row.requests,
        "requests_max": row.requests_max,
        "rate": row.rate,
        "share": row.share,
        "certified": int(row.certified),
        "truncated": int(row.key.truncated),
        "hosts": row.hosts,
        "spread": row.spread.value,
        "top_host": None if row.top_host is None else _safe_text(row.top_host.host),
        "top_host_requests": None if row.top_host is None else row.top_host.requests,
        **({} if row.ops is None else {op: row.ops.get(op, 0) for op in OPS}),
        "misses": row.misses,
        "miss_cause": None if row.miss_cause is None else row.miss_cause.value,
        "value_bytes": row.value_bytes,
        "size": row.item.size,
        "ttl_s": row.item.ttl_s,
        "last_access_s": row.item.last_access_s,
        "slab_class": row.item.slab_class,
        "bytes_out": row.bytes_out,
        "out_rate": row.out_rate,
        "unknown": row.unknown,
        "trend": None if row.trend is None else row.trend.kind.value,
        "trend_at_s": None if row.trend is None else row.trend.at_s,
        **_clients(row.clients),
    }


def _clients(clients: Clients | None) -> dict[str, Any]:
    if clients is None:
        return {}
    first = clients.rows[0] if clients.rows else None
    return {
        "top_client": None if first is None else _safe_text(first[0]),
        "top_client_requests": None if first is None else first[1],
        "clients_unknown": clients.unknown,
    }


def _template(row: TemplateRow) -> dict[str, Any]:
    return {
        "kind": "template",
        "name": _safe_text(row.template),
        "requests": row.requests,
        "rate": row.rate,
        "share": row.share,
        "keys": row.keys,
        "hottest": row.hottest,
    }
