"""A comparison as JSON, for scripts: `fleettrace/diff/1`. Fields are only ever added; null is "not known"."""

from __future__ import annotations

from typing import Any

from fleettrace.report.json_format import key_fields
from fleettrace.store.diff.model import Change, ComparedKind, Diff, Side
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunInfo
from fleettrace.text_format import rfc3339

__all__ = ["diff_document"]

_SCHEMA = "fleettrace/diff/1"


def diff_document(diff: Diff) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "schema": _SCHEMA,
        "before": {**_run(diff.before), "rate": diff.rate_before},
        "after": {**_run(diff.after), "rate": diff.rate_after},
        "hosts": list(diff.hosts),
        "not_compared": [{"host": each.host, "why": each.why} for each in diff.excluded],
        "tested": diff.tested,
        "notes": list(diff.notes),
        "visible_rise": None if diff.visibility is None else diff.visibility.rise,
        "older_baselines": [{"run": each.run, "hosts": list(each.hosts), "level": each.level} for each in diff.older],
        "changes": [_change(change) for change in diff.changes],
    }


def _run(info: RunInfo) -> dict[str, Any]:
    return {"run": info.id, "started": rfc3339(info.started), "pattern": info.pattern, "duration_s": info.duration_s}


def _change(change: Change) -> dict[str, Any]:
    name = key_fields(change.name) if isinstance(change.name, Key) else {change.subject.value: change.name}
    moved = {"from": change.host_before, "to": change.host_after} if change.subject is ComparedKind.KEY else {}
    selected = {"selected": change.selected, "renamed": change.renamed} if change.selected else {}
    return {
        "subject": change.subject.value,
        "change": change.kind.value,
        **name,
        **moved,
        **selected,
        "before": _side(change.before),
        "after": _side(change.after),
        "ratio": change.ratio,
        "ratio_min": change.ratio_min,
        "ratio_max": change.ratio_max,
        "chance": change.chance,
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "requests": side.requests,
        "requests_max": side.requests_max,
        "share": side.share,
        "rate": side.rate,
    }
