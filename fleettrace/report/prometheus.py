"""The report as metrics, for node_exporter's textfile collector, a push gateway or `fleettrace exporter`.

The text is valid in Prometheus's format 0.0.4 and in OpenMetrics 1.0. All metrics are gauges, because each run starts
from zero. Label values are bounded: the hosts of the run and the report's templates. Keys become labels only on
request, because every new hot key is a new series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TextIO

from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.metrics_text import Labels, Metric, many, metric_lines, one
from fleettrace.report.model import HostRow, KeyRow, Report, TemplateRow
from fleettrace.summary.host_totals import host_totals
from fleettrace.summary.run import Coverage
from fleettrace.text_format import utc

__all__ = ["PrometheusFormatter"]

_STATS = (
    ("hit_ratio", "hit_ratio", "Fraction of look-ups that hit, by memcached's own counters."),
    ("evictions_per_second", "evictions", "Items evicted per second."),
    ("expired_per_second", "expired", "Items per second that expired unfetched, or were asked for too late."),
    ("received_bytes_per_second", "bytes_in", "Bytes per second from clients."),
    ("sent_bytes_per_second", "bytes_out", "Bytes per second to clients."),
    ("connections", "connections", "Connections at the end of the window."),
    ("connections_limit", "max_connections", "Most connections that memcached accepts."),
    ("new_connections_per_second", "new_connections", "Connections accepted per second."),
    ("window_refused_connections", "refused", "Connections refused in the window because of the limit."),
    ("window_connection_yields", "yields", "Times in the window that a connection had to wait for others."),
    ("memory_used_bytes", "memory_used", "Bytes of all items."),
    ("memory_limit_bytes", "memory_limit", "Bytes of memory for items."),
)
"""The metrics of memcached's own stats: name, field of `HostTotals`, help."""


class PrometheusFormatter:
    """Writes gauges in the text format. With `keys`, the report's keys become labels."""

    def __init__(self, *, keys: bool = False) -> None:
        self._keys = keys

    def write(self, report: Report, out: TextIO) -> None:
        """Write the metrics to `out`; an unknown value has no sample."""
        metrics = [*_fleet(report), *_hosts(report.hosts), *_templates(report.templates)]
        if self._keys:
            metrics += _key_metrics(report.keys)
        for metric in metrics:
            out.writelines(metric_lines(metric))
        out.write("# EOF\n")


def _fleet(report: Report) -> list[Metric]:
    info, totals = report.info, report.totals
    run = {"run": escape_text(info.id), "pattern": escape_text(info.pattern), "version": escape_text(info.version)}
    states = Counter(row.state.value for row in report.hosts)
    return [
        one("run_labels", "The run of these metrics.", 1, run),
        one("run_start_timestamp_seconds", "Start of the run.", _unix(info.started)),
        one("run_window_seconds", "The longest measured window.", totals.window_s and totals.window_s[1]),
        many("hosts", "Hosts selected, by state.", (({"state": state}, states[state]) for state in sorted(states))),
        one("hosts_traced", "Hosts with traffic in the report.", totals.hosts_traced),
        one("instances_traced", "Instances traced.", totals.instances_traced),
        one("window_requests", "Requests in the window, in the whole fleet.", totals.requests),
        one("requests_per_second", "Requests per second, in the whole fleet.", totals.rate),
        one("certified_keys", "Keys that are provably in the top n.", totals.certified),
        one("coverage_ratio", "Traced requests divided by those that memcached counted.", _share(totals.coverage)),
        one("imbalance_ratio", "Rate of the hottest host divided by the mean.", totals.imbalance),
    ]


def _share(coverage: Coverage | None) -> float | None:
    return None if coverage is None else coverage.share


def _unix(time: datetime) -> float:
    return utc(time).timestamp()


def _hosts(rows: Iterable[HostRow]) -> list[Metric]:
    named = [({"host": escape_text(row.host)}, row) for row in rows]
    return [
        many(
            "host_ok", "1 when the host was traced completely.", ((name, int(row.state == "ok")) for name, row in named)
        ),
        many("host_window_requests", "Requests in the window.", ((name, row.requests) for name, row in named)),
        many("host_requests_per_second", "Requests per second.", ((name, row.rate) for name, row in named)),
        many("host_load_ratio", "Rate divided by the mean.", ((name, row.load) for name, row in named)),
        many(
            "host_coverage_ratio",
            "Traced requests divided by those that memcached counted.",
            ((name, _share(row.coverage)) for name, row in named),
        ),
        *_stats(named),
    ]


def _stats(named: Sequence[tuple[Labels, HostRow]]) -> list[Metric]:
    """Return the metrics of memcached's own stats."""
    known = [(name, host_totals(row.instances)) for name, row in named]
    return [
        many(f"host_{metric}", help_text, ((name, getattr(totals, field)) for name, totals in known))
        for metric, field, help_text in _STATS
    ]


def _templates(rows: Iterable[TemplateRow]) -> list[Metric]:
    named = [({"template": escape_text(row.template)}, row) for row in rows]
    return [
        many("template_window_requests", "Requests in the window.", ((name, row.requests) for name, row in named)),
        many("template_requests_per_second", "Requests per second.", ((name, row.rate) for name, row in named)),
        many("template_share_ratio", "Fraction of the fleet's requests.", ((name, row.share) for name, row in named)),
        many("template_keys", "Distinct members.", ((name, row.keys) for name, row in named)),
    ]


def _key_metrics(rows: Iterable[KeyRow]) -> list[Metric]:
    named = [(_key_labels(row), row) for row in rows]
    return [
        many(
            "key_window_requests", "Lower bound of requests in the window.", ((key, row.requests) for key, row in named)
        ),
        many(
            "key_window_requests_max",
            "Upper bound of requests in the window.",
            ((key, row.requests_max) for key, row in named),
        ),
        many("key_value_bytes", "Bytes of the value after the window.", ((key, row.item.size) for key, row in named)),
        many(
            "key_sent_bytes_per_second",
            "Estimated bytes of values sent to clients per second.",
            ((key, row.out_rate) for key, row in named),
        ),
        many("key_requests_per_second", "Requests per second.", ((key, row.rate) for key, row in named)),
        many("key_share_ratio", "Fraction of the fleet's requests.", ((key, row.share) for key, row in named)),
        many("key_certified", "1 when provably in the top n.", ((key, int(row.certified)) for key, row in named)),
    ]


def _key_labels(row: KeyRow) -> dict[str, str]:
    """Return the key, and the length of a truncated one, which distinguishes it from others with the same beginning."""
    length = {"length": str(row.key.length)} if row.key.truncated else {}
    return {"key": escape_key(row.key.data), **length}
