"""Convert a report to columns for the page: ten thousand keys as arrays have a third of the size of objects.

Each of `keys`, `hosts` and `templates` becomes {field: [value per row]}; a field without any value is omitted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

__all__ = ["page_data"]

_Object = Mapping[str, Any]
_Columns = dict[str, list[Any]]

_TIMELINE_CELLS = 60
"""The most bars of a timeline; in a longer one each bar shows its highest bucket, so that no burst is lost."""
_CLIENTS = 10
"""The clients of a key or a host in its details, the first ones of the report."""
_HEAT_KEYS = 40
"""The number of keys in the heat map, the first ones of the report."""

_KEY_FIELDS = (
    *("key", "key_base64", "truncated", "length", "requests", "requests_max", "share", "rate", "certified", "ops"),
    *(
        "misses",
        "miss_cause",
        "value_bytes",
        "size",
        "ttl_s",
        "last_access_s",
        "slab_class",
        "fetched",
        "bytes_out",
        "out_rate",
        "unknown",
        "hosts",
        "spread",
        "timeline",
        "trend",
        "clients",
        "clients_others",
        "clients_unknown",
    ),
)
_TEMPLATE_FIELDS = ("template", "requests", "share", "rate", "keys", "hottest")
_HOST_FIELDS = (
    *(
        "host",
        "state",
        "error",
        "requests",
        "rate",
        "share",
        "load",
        "cause",
        "timeline",
        "coverage",
        "stats",
        "instances",
        "top",
        "clients",
        "clients_others",
        "clients_unknown",
    ),
)


def page_data(report: _Object) -> dict[str, Any]:
    """Return the report's values as the page's script expects them."""
    keys, hosts = (list(map(_clients, _rows(report, name))) for name in ("keys", "hosts"))
    run = cast(_Object, report.get("run") or {})
    place = {host["host"]: index for index, host in enumerate(hosts)}
    number = {_identity(key): index for index, key in enumerate(keys)}
    hosts = [
        {
            **host,
            "stats": None if host.get("stats") is None else _known(host["stats"]),
            "instances": [_shorter(one) for one in host.get("instances") or []],
        }
        for host in hosts
    ]
    columns = _columns(keys, _KEY_FIELDS)
    columns["top_host"] = [_top_host(key.get("top_host"), place) for key in keys]
    host_columns = _columns(hosts, _HOST_FIELDS)
    if "load" not in host_columns:
        host_columns["load"] = _loads(hosts)
    return {
        "title": f"{run.get('pattern') or 'fleet'} at {run.get('started') or ''}",
        "run": run,
        "totals": report.get("totals") or {},
        "by_bytes": report.get("by_bytes"),
        "sort": report.get("sort"),
        "keys": {"n": len(keys), **columns},
        "templates": {"n": len(_rows(report, "templates")), **_columns(_rows(report, "templates"), _TEMPLATE_FIELDS)},
        "hosts": {"n": len(hosts), **host_columns, "top": [_host_top(host, number) for host in hosts]},
        "heat": _heat(keys, hosts, number),
        "warnings": _folded(_rows(report, "warnings")),
        "errors": _folded({"host": h["host"], **h["error"], "state": h["state"]} for h in hosts if h.get("error")),
    }


def _clients(row: _Object) -> _Object:
    """Return the row with its first clients as [client, requests, share], the rest among the others."""
    clients = row.get("clients")
    if clients is None:
        return row
    shown = [[one["client"], one["requests"], _compact(one["share"])] for one in clients[:_CLIENTS]]
    others = row["clients_others"] + sum(one["requests"] for one in clients[_CLIENTS:])
    return {**row, "clients": shown, "clients_others": others}


def _rows(report: _Object, name: str) -> Sequence[_Object]:
    return cast(Sequence[_Object], report.get(name) or [])


def _columns(rows: Sequence[_Object], fields: Iterable[str]) -> _Columns:
    columns: _Columns = {}
    for field in fields:
        if field == "top":
            continue
        column = [_compact(row.get(field)) if field != "timeline" else _timeline(row.get(field)) for row in rows]
        if any(value is not None for value in column):
            columns[field] = column
    return columns


def _compact(value: Any) -> Any:
    """Return a shorter value: floats with six significant digits, booleans as numbers."""
    if isinstance(value, bool):
        return int(value)
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _timeline(timeline: Sequence[int] | None) -> list[int] | None:
    if not timeline:
        return None
    width = min(len(timeline), _TIMELINE_CELLS)
    edges = [cell * len(timeline) // width for cell in range(width + 1)]
    return [max(timeline[edges[cell] : edges[cell + 1]]) for cell in range(width)]


def _shorter(instance: _Object) -> _Object:
    """Return the instance with each reason for unknown stats once, not for each field."""
    stats = instance.get("stats")
    if stats is None:
        return instance
    reasons = list(dict.fromkeys((stats.get("unknown") or {}).values()))
    return {**instance, "stats": {**_known(stats), "unknown": reasons}}


def _known(stats: _Object) -> _Object:
    """Return the stats without those that are unknown: most hosts of a run can have none."""
    return {name: _compact(value) for name, value in stats.items() if value is not None}


def _identity(key: _Object) -> tuple[str | None, str, object]:
    return key.get("key_base64"), key["key"], key.get("truncated")


def _top_host(top: _Object | None, place: Mapping[str, int]) -> list[Any] | None:
    """Return [index of the host, requests, share of the host's requests]."""
    if top is None or top["host"] not in place:
        return None
    return [place[top["host"]], top["requests"], _compact(top.get("share"))]


def _loads(hosts: Sequence[_Object]) -> list[Any]:
    """Return the loads of the hosts, for a report without them."""
    rates = [host["rate"] for host in hosts if host.get("rate") is not None]
    mean = sum(rates) / len(rates) if rates else 0
    return [_compact(host["rate"] / mean) if mean and host.get("rate") is not None else None for host in hosts]


def _host_top(host: _Object, number: Mapping[tuple[str | None, str, object], int]) -> list[list[Any]]:
    """Return the host's hottest keys as [index of the key, or its text if it is not in the report; requests]."""
    return [[number.get(_identity(key), key["key"]), key["requests"]] for key in host.get("top") or []]


def _heat(
    keys: Sequence[_Object], hosts: Sequence[_Object], number: Mapping[tuple[str | None, str, object], int]
) -> dict[str, Any]:
    """Return requests by key and host, as [key, host, requests], as far as the report has them."""
    known: dict[tuple[int, int], int] = {}
    for place, host in enumerate(hosts):
        for key in host.get("top") or []:
            index = number.get(_identity(key), _HEAT_KEYS)
            if index < _HEAT_KEYS:
                known[index, place] = key["requests"]
    names = {host["host"]: place for place, host in enumerate(hosts)}
    for index, key in enumerate(keys[:_HEAT_KEYS]):
        top = key.get("top_host")
        if top is not None and top["host"] in names:
            known.setdefault((index, names[top["host"]]), top["requests"])
    cells = [[index, place, requests] for (index, place), requests in sorted(known.items())]
    return {"keys": min(_HEAT_KEYS, len(keys)), "cells": cells}


def _folded(items: Iterable[_Object]) -> list[dict[str, Any]]:
    """Return equal messages once, with all their hosts."""
    hosts: dict[tuple[str, str, str | None], list[str]] = defaultdict(list)
    for item in items:
        same = hosts[item["code"], item["message"], item.get("state")]
        if item.get("host") is not None:
            same.append(item["host"])
    return [
        {"code": code, "message": message, "state": state, "hosts": names}
        for (code, message, state), names in hosts.items()
    ]
