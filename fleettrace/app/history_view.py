"""`fleettrace history`: stored runs, and the timeline of a key or a host over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleettrace.app.history import open_history
from fleettrace.errors import ConfigError
from fleettrace.report.columns import columns
from fleettrace.report.escape import escape_key, escape_text, shorten, unescape_key
from fleettrace.report.json_format import key_fields
from fleettrace.report.number_format import compact, minute, percent
from fleettrace.store.history.database import History
from fleettrace.store.history.lines import HostPoint, KeyPoint, RunLine
from fleettrace.summary.key import Key
from fleettrace.text_format import rfc3339

__all__ = ["HistoryOptions", "show_history"]

_SCHEMA = "fleettrace/history/1"
_NAME_CELLS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOptions:
    """The options of `fleettrace history`."""

    key: str | None = None
    """As reports show it."""
    host: str | None = None
    playbook: str | None = None
    last: int = 20
    store: str | None = None


def show_history(options: HistoryOptions) -> tuple[dict[str, Any], list[str]]:
    """Return the stored runs, or a key or a host over them, as a JSON document and as lines. Raises `ConfigError`."""
    if options.key is not None and options.host is not None:
        raise ConfigError("--key and --host together: a key's timeline is that of the whole fleet; leave one out")
    with open_history(options.store) as history:
        if options.key is not None:
            document, lines = _of_key(history, options.key, options)
        elif options.host is not None:
            document, lines = _of_host(history, options.host, options)
        else:
            document, lines = _of_runs(history, options)
    return {"schema": _SCHEMA, **document}, lines


def _of_runs(history: History, options: HistoryOptions) -> tuple[dict[str, Any], list[str]]:
    runs = history.runs(options.last, playbook=options.playbook)
    rows = [["run", "started", "hosts", "requests/s", "keys", "hottest key", "", "pattern"]]
    return {"runs": [_run_document(run) for run in runs]}, columns(
        [*rows, *map(_run_row, runs)], right=(2, 3, 4, 6)
    ) if runs else [f"no run is stored in {escape_text(str(history.path))}"]


def _run_row(run: RunLine) -> list[str]:
    share = run.hottest_requests / run.requests if run.hottest is not None and run.requests else None
    name = "-" if run.hottest is None else shorten(escape_key(run.hottest.data), _NAME_CELLS)
    return [
        escape_text(run.run),
        minute(run.started),
        f"{run.hosts_ok}/{run.hosts}",
        compact(run.rate),
        compact(run.keys),
        name,
        percent(share),
        escape_text(f"{run.pattern} ({run.playbook})" if run.playbook else run.pattern),
    ]


def _run_document(run: RunLine) -> dict[str, Any]:
    hottest = None if run.hottest is None else {**key_fields(run.hottest), "requests": run.hottest_requests}
    return {
        **_begin(run.run, run.started),
        "pattern": run.pattern,
        "playbook": run.playbook or None,
        "hosts": run.hosts,
        "hosts_ok": run.hosts_ok,
        "requests": run.requests,
        "rate": run.rate,
        "keys": run.keys,
        "hottest": hottest,
    }


def _of_key(history: History, key: str, options: HistoryOptions) -> tuple[dict[str, Any], list[str]]:
    data = _data(key)
    points = history.key_timeline(data, options.last, playbook=options.playbook)
    rows = [["run", "started", "rank", "requests", "at most", "share", "requests/s"]]
    document = {**key_fields(Key.whole(data)), "timeline": [_key_document(point) for point in points]}
    return document, columns([*rows, *map(_key_row, points)], right=range(2, 7))


def _data(given: str) -> bytes:
    """Return the key of a text that reports show, escapes included; other texts are taken literally."""
    try:
        return unescape_key(given)
    except (ValueError, UnicodeError):
        return given.encode("utf-8", "surrogateescape")


def _key_row(point: KeyPoint) -> list[str]:
    place = "-" if point.place is None else str(point.place)
    counts = [f"{point.requests:,}" if point.place else "-", f"{point.requests_max:,}"]
    return [*_names(point), place, *counts, percent(point.share, 2), compact(point.rate)]


def _key_document(point: KeyPoint) -> dict[str, Any]:
    return {
        **_begin(point.run, point.started),
        "rank": point.place,
        "requests": point.requests,
        "requests_max": point.requests_max,
        "share": point.share,
        "rate": point.rate,
    }


def _of_host(history: History, host: str, options: HistoryOptions) -> tuple[dict[str, Any], list[str]]:
    points = history.host_timeline(host, options.last, playbook=options.playbook)
    if not points:
        raise ConfigError(f"no stored run has a host {host!r}", file=history.path)
    rows = [["run", "started", "state", "requests", "share", "requests/s"]]
    document = {"host": host, "timeline": [_host_document(point) for point in points]}
    return document, columns([*rows, *map(_host_row, points)], right=range(3, 6))


def _host_row(point: HostPoint) -> list[str]:
    requests = "-" if point.requests is None else f"{point.requests:,}"
    return [*_names(point), point.state, requests, percent(point.share), compact(point.rate)]


def _host_document(point: HostPoint) -> dict[str, Any]:
    return {
        **_begin(point.run, point.started),
        "state": point.state,
        "requests": point.requests,
        "share": point.share,
        "rate": point.rate,
    }


def _names(point: KeyPoint | HostPoint) -> Sequence[str]:
    return escape_text(point.run), minute(point.started)


def _begin(run: str, started: datetime) -> dict[str, Any]:
    return {"run": run, "started": rfc3339(started)}
