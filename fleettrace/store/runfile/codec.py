"""Convert a run, its hosts and their instances to JSON documents, and back. Pure.

Readers ignore unknown fields and take missing ones as unknown (None), so that a run file of a later version with the
same schema number can still be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, fields
from datetime import datetime
from typing import Any, TypeVar

from fleettrace.errors import HostState
from fleettrace.summary.host_stats import HostStats, host_stats_of
from fleettrace.summary.items import NEVER, ItemFacts, ItemGap
from fleettrace.summary.key import Key
from fleettrace.summary.run import (
    Container,
    Coverage,
    Failure,
    HostResult,
    InstanceResult,
    ProbeVerdict,
    RunInfo,
    TracingCost,
    Warn,
)
from fleettrace.text_format import rfc3339

__all__ = [
    "host_document",
    "host_of",
    "instance_of",
    "key_text",
    "run_document",
    "run_of",
    "text_key",
    "warn_document",
    "warn_of",
]

Document = dict[str, Any]
_Value = TypeVar("_Value", Container, TracingCost, Coverage, Failure, ProbeVerdict, Warn)


def key_text(data: bytes) -> str:
    """Return a key's bytes as text: each byte becomes the character U+0000 to U+00FF with its number."""
    return data.decode("latin-1")


def text_key(text: str, length: int | None = None) -> Key:
    """Return the key for the text of `key_text`; `length` is its real length in bytes if it was truncated. Raises
    `ValueError`."""
    data = text.encode("latin-1")
    return Key(data, len(data) if length is None else length)


def run_document(info: RunInfo) -> Document:
    """Return a run as a document, with times in RFC 3339."""
    times = {"started": rfc3339(info.started, "auto"), "finished": rfc3339(info.finished, "auto")}
    return {**asdict(info), **times}


def run_of(document: Mapping[str, Any]) -> RunInfo:
    """Return the run of `run_document`. Raises `KeyError`, `TypeError`, `ValueError` for an invalid document."""
    started = _time(document["started"])
    if started is None:
        raise ValueError("a run without a start")
    return RunInfo(
        id=document["id"],
        started=started,
        pattern=document["pattern"],
        duration_s=document["duration_s"],
        version=document["version"],
        bucket_s=document["bucket_s"],
        finished=_time(document.get("finished")),
        options=str(document.get("options", "")),
    )


def host_document(host: HostResult) -> Document:
    """Return a host and its instances as a document, without the counts of keys."""
    top = [[key_text(key.data), key.length if key.truncated else None, requests] for key, requests in host.top]
    instances = [_instance_document(instance) for instance in host.instances]
    return {
        "host": host.host,
        "state": host.state.value,
        "error": None if host.error is None else asdict(host.error),
        "course": host.timeline,
        "top": top,
        "marks": list(host.marks),
        "items": [_item_row(key, facts) for key, facts in host.items.items()],
        "instances": instances,
    }


def host_of(document: Mapping[str, Any]) -> HostResult:
    """Return the host of `host_document`. Raises as `run_of` does."""
    return HostResult(
        host=document["host"],
        state=HostState(document["state"]),
        error=_value(Failure, document.get("error")),
        instances=[instance_of(each) for each in document["instances"]],
        top=[(text_key(text, length), _requests(requests)) for text, length, requests in document["top"]],
        timeline=list(document["course"]),
        items=dict(map(_item_of, document.get("items", ()))),
        marks=tuple(map(str, document.get("marks", ()))),
    )


def _item_row(key: Key, facts: ItemFacts) -> list[Any]:
    return [key_text(key.data), key.length if key.truncated else None, *astuple(facts)]


def _item_of(row: Sequence[Any]) -> tuple[Key, ItemFacts]:
    text, length, *numbers, fetched, gap = row
    size, ttl, last, slab = numbers
    if fetched not in (True, False, None):
        raise ValueError(f"an item's fetched is {fetched!r}")
    known = _number(size), _number(ttl, NEVER), _number(last), _number(slab)
    facts = ItemFacts(*known, fetched, None if gap is None else ItemGap(gap))
    return text_key(text, length), facts


def _number(value: object, least: int = 0) -> int | None:
    if value is None or (type(value) is int and least <= value < 1 << 34):
        return value
    raise ValueError(f"an item with the number {value!r:.40}")


def _requests(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"a count of {value!r:.40}")
    return value


def _instance_document(instance: InstanceResult) -> Document:
    document = {field.name: getattr(instance, field.name) for field in fields(instance)}
    for name in ("probe", "container", "error", "cost", "coverage", "stats"):
        if document[name] is not None:
            document[name] = asdict(document[name])
    return {**document, "state": instance.state.value, "ports": list(instance.ports)}


def instance_of(document: Mapping[str, Any]) -> InstanceResult:
    """Return one instance of a host's document. Raises as `run_of` does."""
    probe = _value(ProbeVerdict, document["probe"])
    if probe is None:
        raise ValueError("an instance without a probe")
    return InstanceResult(
        pid=document["pid"],
        state=HostState(document["state"]),
        exe=document["exe"],
        probe=probe,
        container=_value(Container, document.get("container")),
        version=document.get("version"),
        build_id=document.get("build_id"),
        ports=tuple(document.get("ports", ())),
        user=document.get("user"),
        window_s=document.get("window_s"),
        requests=document.get("requests"),
        absent=document.get("absent"),
        error=_value(Failure, document.get("error")),
        cost=_value(TracingCost, document.get("cost")),
        coverage=_value(Coverage, document.get("coverage")),
        stats=_stats(document.get("stats")),
    )


def _stats(document: Mapping[str, Any] | None) -> HostStats | None:
    return None if document is None else host_stats_of(document)


def warn_document(warn: Warn) -> Document:
    """Return a warning as a document."""
    return asdict(warn)


def warn_of(document: Mapping[str, Any]) -> Warn:
    """Return the warning of `warn_document`. Raises `TypeError` for an invalid document."""
    warn = _value(Warn, document)
    assert warn is not None
    return warn


def _value(kind: type[_Value], document: Mapping[str, Any] | None) -> _Value | None:
    if document is None:
        return None
    return kind(**{field.name: document[field.name] for field in fields(kind) if field.name in document})


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
