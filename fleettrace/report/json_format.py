"""The report as JSON, the format for scripts and dashboards (`docs/schema/report-1.json`).

Fields are only added, never removed. Null means "not known", never 0. A key of printable UTF-8 is in `key` unchanged,
with `key_base64` null; any other key has its bytes in `key_base64`, and in `key` an escaped form for terminals.
"""

from __future__ import annotations

import json
from base64 import b64encode
from functools import partial
from typing import Any, TextIO

from fleettrace.report.clients import clients_fields
from fleettrace.report.escape import escape_key, escape_text, is_plain
from fleettrace.report.host_remarks import host_remarks
from fleettrace.report.imbalance import Cause
from fleettrace.report.items import ByBytes
from fleettrace.report.model import HostRow, KeyRow, Report, TemplateRow, Totals
from fleettrace.report.timeline import Trend
from fleettrace.summary.host_stats import NOT_STORED, HostStats, document_of, unknown_stats
from fleettrace.summary.host_totals import host_totals
from fleettrace.summary.key import Key
from fleettrace.summary.run import (
    Container,
    Coverage,
    Failure,
    InstanceResult,
    ProbeVerdict,
    RunInfo,
    TracingCost,
    Warn,
)
from fleettrace.text_format import rfc3339

__all__ = ["SCHEMA", "JsonFormatter", "key_fields", "to_json"]

SCHEMA = "fleettrace/report/1"

_Object = dict[str, Any]


class JsonFormatter:
    """Writes one JSON object, in ASCII."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write `report` to `out`: each field and each row of a list on its own line."""
        # With `indent`, json uses its Python encoder, which takes ten times as long as the one in C.
        fields = (f'  "{name}": {_rows(value)}' for name, value in to_json(report).items())
        out.write("{\n")
        for number, field in enumerate(fields):
            out.write(",\n" if number else "")
            out.write(field)
        out.write("\n}\n")


def _rows(value: object) -> str:
    encode = partial(json.dumps, allow_nan=False)
    if not isinstance(value, list) or not value:
        return encode(value)
    return "[\n    " + ",\n    ".join(map(encode, value)) + "\n  ]"


def to_json(report: Report) -> _Object:
    """Return the report as plain values."""
    return {
        "schema": SCHEMA,
        "run": _run(report.info, report.top),
        "totals": _totals(report.totals),
        "sort": report.sort.value,
        "keys": [_key(row) for row in report.keys],
        "by_bytes": _by_bytes(report.by_bytes),
        "templates": [_template(row) for row in report.templates],
        "hosts": [_host(row) for row in report.hosts],
        "warnings": [_warning(item) for item in report.warnings],
    }


def key_fields(key: Key) -> _Object:
    """Return the fields for a key: text that is safe to show, and the exact bytes if they differ."""
    if is_plain(key.data):
        return {"key": key.data.decode(), "key_base64": None, "truncated": key.truncated}
    return {"key": escape_key(key.data), "key_base64": b64encode(key.data).decode(), "truncated": key.truncated}


def _text(text: str | None) -> str | None:
    """Return the text unchanged, because JSON escapes it, unless it has surrogates (bytes that were not UTF-8)."""
    if text is None:
        return None
    return escape_text(text) if any("\ud800" <= char <= "\udfff" for char in text) else text


def _run(info: RunInfo, top: int) -> _Object:
    return {
        "id": info.id,
        "started": rfc3339(info.started),
        "finished": rfc3339(info.finished),
        "version": info.version,
        "pattern": _text(info.pattern),
        "duration_s": info.duration_s,
        "bucket_s": info.bucket_s,
        "top": top,
    }


def _totals(totals: Totals) -> _Object:
    return {
        "hosts": totals.hosts,
        "hosts_ok": totals.hosts_ok,
        "hosts_traced": totals.hosts_traced,
        "hosts_missing": list(totals.missing),
        "instances": totals.instances,
        "instances_traced": totals.instances_traced,
        "requests": totals.requests,
        "rate": totals.rate,
        "certified": totals.certified,
        "absent": totals.absent,
        "distinct_keys": totals.distinct,
        "window_s": None if totals.window_s is None else {"min": totals.window_s[0], "max": totals.window_s[1]},
        "coverage": _coverage(totals.coverage),
        "coverage_unknown": list(totals.coverage_unknown),
        "imbalance": totals.imbalance,
        "tracer_cpu_s": totals.tracer_cpu_s,
        "timeline": list(totals.timeline),
    }


def _key(row: KeyRow) -> _Object:
    return {
        **key_fields(row.key),
        "length": row.key.length,
        "requests": row.requests,
        "requests_max": row.requests_max,
        "share": row.share,
        "rate": row.rate,
        "certified": row.certified,
        "ops": row.ops,
        "misses": row.misses,
        "miss_cause": None if row.miss_cause is None else row.miss_cause.value,
        "value_bytes": row.value_bytes,
        **_item(row),
        "hosts": row.hosts,
        "spread": row.spread.value,
        "top_host": None
        if row.top_host is None
        else {"host": row.top_host.host, "requests": row.top_host.requests, "share": row.top_host.share},
        "timeline": list(row.timeline),
        "trend": _trend(row.trend),
        **clients_fields(row.clients),
    }


def _item(row: KeyRow) -> _Object:
    item = row.item
    return {
        "size": item.size,
        "ttl_s": item.ttl_s,
        "last_access_s": item.last_access_s,
        "slab_class": item.slab_class,
        "fetched": item.fetched,
        "bytes_out": row.bytes_out,
        "out_rate": row.out_rate,
        "unknown": row.unknown,
    }


def _by_bytes(found: ByBytes | None) -> _Object | None:
    if found is None:
        return None
    return {
        **key_fields(found.key),
        "bytes_out": found.bytes_out,
        "out_rate": found.out_rate,
        "share": found.share,
        "all_sent": found.all_sent,
    }


def _trend(trend: Trend | None) -> _Object | None:
    return None if trend is None else {"kind": trend.kind.value, "at_s": trend.at_s}


def _template(row: TemplateRow) -> _Object:
    return {
        "template": _text(row.template),
        "requests": row.requests,
        "share": row.share,
        "rate": row.rate,
        "keys": row.keys,
        "hottest": row.hottest,
    }


def _host(row: HostRow) -> _Object:
    return {
        "host": _text(row.host),
        "state": row.state.value,
        "error": _failure(row.error),
        "requests": row.requests,
        "rate": row.rate,
        "share": row.share,
        "load": row.load,
        "cause": _cause(row.cause),
        "coverage": _coverage(row.coverage),
        "timeline": list(row.timeline),
        "top": [{**key_fields(key), "requests": requests} for key, requests in row.top],
        "stats": _host_stats(row),
        "instances": [_instance(instance) for instance in row.instances],
        **clients_fields(row.clients),
    }


def _host_stats(row: HostRow) -> _Object:
    totals = host_totals(row.instances)
    evicting = totals.evicting
    return {
        "hit_ratio": totals.hit_ratio,
        "evictions_rate": totals.evictions,
        "expired_rate": totals.expired,
        "reclaimed_rate": totals.reclaimed,
        "bytes_in_rate": totals.bytes_in,
        "bytes_out_rate": totals.bytes_out,
        "new_connections_rate": totals.new_connections,
        "connections": totals.connections,
        "max_connections": totals.max_connections,
        "refused_connections": totals.refused,
        "conn_yields": totals.yields,
        "memory_used": totals.memory_used,
        "memory_limit": totals.memory_limit,
        "threads": totals.threads,
        "evicting_class": None if evicting is None else evicting.evicting_class.number,
        "remarks": host_remarks(row, totals),
    }


def _cause(cause: Cause | None) -> _Object | None:
    if cause is None:
        return None
    key = {"key": None, "key_base64": None} if cause.key is None else key_fields(cause.key)
    return {
        "kind": cause.kind.value,
        "key": key["key"],
        "key_base64": key["key_base64"],
        "template": _text(cause.template),
        "load_without": cause.load_without,
    }


def _instance(instance: InstanceResult) -> _Object:
    return {
        "pid": instance.pid,
        "container": _container(instance.container),
        "exe": _text(instance.exe),
        "version": _text(instance.version),
        "build_id": instance.build_id,
        "ports": list(instance.ports),
        "user": _text(instance.user),
        "probe": _probe(instance.probe),
        "window_s": instance.window_s,
        "requests": instance.requests,
        "absent": instance.absent,
        "state": instance.state.value,
        "error": _failure(instance.error),
        "coverage": _coverage(instance.coverage),
        "cost": _cost(instance.cost),
        "stats": _stats(instance.stats),
    }


def _stats(stats: HostStats | None) -> _Object:
    """Return memcached's own stats, each unknown number with its reason."""
    document = document_of(stats or unknown_stats(NOT_STORED))
    return {**document, "unknown": {name: _text(why) for name, why in document["unknown"].items()}}


def _container(container: Container | None) -> _Object | None:
    if container is None:
        return None
    names = {"runtime": container.runtime, "id": container.id, "name": container.name, "image": container.image}
    return {field: _text(name) for field, name in names.items()}


def _probe(probe: ProbeVerdict) -> _Object:
    return {
        "kind": probe.probe_kind,
        "exact": probe.exact,
        "symbol": _text(probe.symbol),
        "offset": probe.offset,
        "overlay": probe.overlay,
        "cost": probe.cost,
        "why": _text(probe.why),
    }


def _cost(cost: TracingCost | None) -> _Object | None:
    if cost is None:
        return None
    return {"before_us": cost.before_us, "during_us": cost.during_us, "tracer_cpu_s": cost.tracer_cpu_s}


def _coverage(coverage: Coverage | None) -> _Object | None:
    if coverage is None:
        return None
    return {"counted": coverage.counted, "traced": coverage.traced, "share": coverage.share}


def _failure(failure: Failure | None) -> _Object | None:
    return None if failure is None else {"code": failure.code, "message": _text(failure.message)}


def _warning(item: Warn) -> _Object:
    return {"code": item.code, "host": _text(item.host), "message": _text(item.message)}
