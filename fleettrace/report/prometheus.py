"""The report as metrics, for node_exporter's textfile collector or a push gateway.

The text is valid in Prometheus's format 0.0.4 and in OpenMetrics 1.0. All metrics are gauges, because each run starts
from zero. Label values are bounded: the hosts of the run and the report's templates. Keys become labels only on
request, because every new hot key is a new series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TextIO

from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.model import HostRow, KeyRow, Report, TemplateRow
from fleettrace.summary.host_totals import host_totals
from fleettrace.text_format import utc

__all__ = ["PrometheusFormatter"]

_Labels = Mapping[str, str]
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


class _Sample(NamedTuple):
    labels: _Labels
    value: float | None


class _Metric(NamedTuple):
    name: str
    help: str
    samples: list[_Sample]


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
            known = [sample for sample in metric.samples if sample.value is not None]
            if known:
                out.write(f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n")
                out.writelines(_line(metric.name, sample) for sample in known)
        out.write("# EOF\n")


def _line(name: str, sample: _Sample) -> str:
    labels = ",".join(f'{label}="{_quoted(value)}"' for label, value in sample.labels.items())
    return f"{name}{{{labels}}} {sample.value!r}\n" if labels else f"{name} {sample.value!r}\n"


def _quoted(value: str) -> str:
    """Quote a label value that is already escaped text, as both formats require."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _one(name: str, help_text: str, value: float | None, labels: _Labels | None = None) -> _Metric:
    return _Metric(f"fleettrace_{name}", help_text, [_Sample(labels or {}, value)])


def _many(name: str, help_text: str, samples: Iterable[tuple[_Labels, float | None]]) -> _Metric:
    return _Metric(f"fleettrace_{name}", help_text, [_Sample(labels, value) for labels, value in samples])


def _fleet(report: Report) -> list[_Metric]:
    info, totals = report.info, report.totals
    run = {"run": escape_text(info.id), "pattern": escape_text(info.pattern), "version": escape_text(info.version)}
    states = Counter(row.state.value for row in report.hosts)
    coverage = None if totals.coverage is None else totals.coverage.share
    return [
        _one("run_labels", "The run of these metrics.", 1, run),
        _one("run_start_timestamp_seconds", "Start of the run.", _unix(info.started)),
        _one("run_window_seconds", "The longest measured window.", totals.window_s and totals.window_s[1]),
        _many("hosts", "Hosts selected, by state.", (({"state": state}, states[state]) for state in sorted(states))),
        _one("hosts_traced", "Hosts with traffic in the report.", totals.hosts_traced),
        _one("instances_traced", "Instances traced.", totals.instances_traced),
        _one("window_requests", "Requests in the window, in the whole fleet.", totals.requests),
        _one("requests_per_second", "Requests per second, in the whole fleet.", totals.rate),
        _one("certified_keys", "Keys that are provably in the top n.", totals.certified),
        _one("coverage_ratio", "Traced requests divided by those that memcached counted.", coverage),
        _one("imbalance_ratio", "Rate of the hottest host divided by the mean.", totals.imbalance),
    ]


def _unix(time: datetime) -> float:
    return utc(time).timestamp()


def _hosts(rows: Iterable[HostRow]) -> list[_Metric]:
    named = [({"host": escape_text(row.host)}, row) for row in rows]
    return [
        _many(
            "host_ok", "1 when the host was traced completely.", ((name, int(row.state == "ok")) for name, row in named)
        ),
        _many("host_window_requests", "Requests in the window.", ((name, row.requests) for name, row in named)),
        _many("host_requests_per_second", "Requests per second.", ((name, row.rate) for name, row in named)),
        _many("host_load_ratio", "Rate divided by the mean.", ((name, row.load) for name, row in named)),
        *_stats(named),
    ]


def _stats(named: Sequence[tuple[_Labels, HostRow]]) -> list[_Metric]:
    """Return the metrics of memcached's own stats."""
    known = [(name, host_totals(row.instances)) for name, row in named]
    return [
        _many(f"host_{metric}", help_text, ((name, getattr(totals, field)) for name, totals in known))
        for metric, field, help_text in _STATS
    ]


def _templates(rows: Iterable[TemplateRow]) -> list[_Metric]:
    named = [({"template": escape_text(row.template)}, row) for row in rows]
    return [
        _many("template_window_requests", "Requests in the window.", ((name, row.requests) for name, row in named)),
        _many("template_requests_per_second", "Requests per second.", ((name, row.rate) for name, row in named)),
        _many("template_share_ratio", "Fraction of the fleet's requests.", ((name, row.share) for name, row in named)),
        _many("template_keys", "Distinct members.", ((name, row.keys) for name, row in named)),
    ]


def _key_metrics(rows: Iterable[KeyRow]) -> list[_Metric]:
    named = [(_key_labels(row), row) for row in rows]
    return [
        _many(
            "key_window_requests", "Lower bound of requests in the window.", ((key, row.requests) for key, row in named)
        ),
        _many(
            "key_window_requests_max",
            "Upper bound of requests in the window.",
            ((key, row.requests_max) for key, row in named),
        ),
        _many("key_requests_per_second", "Requests per second.", ((key, row.rate) for key, row in named)),
        _many("key_share_ratio", "Fraction of the fleet's requests.", ((key, row.share) for key, row in named)),
        _many("key_certified", "1 when provably in the top n.", ((key, int(row.certified)) for key, row in named)),
    ]


def _key_labels(row: KeyRow) -> dict[str, str]:
    """Return the key, and the length of a truncated one, which distinguishes it from others with the same beginning."""
    length = {"length": str(row.key.length)} if row.key.truncated else {}
    return {"key": escape_key(row.key.data), **length}
