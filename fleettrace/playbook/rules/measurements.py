"""How each field of a rule is read from a report: what was seen, and what that says of the whole fleet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from fleettrace.playbook.rules.eval_context import EvalContext, Subject, rounded
from fleettrace.playbook.rules.values import ANY_NUMBER, Bounds, Measurement
from fleettrace.report.escape import escape_text
from fleettrace.report.model import HostRow, KeyRow, TemplateRow

__all__ = [
    "UNKNOWN",
    "Read",
    "Unit",
    "bytes_out",
    "exact",
    "host_count",
    "host_share",
    "hottest",
    "key_hosts",
    "key_requests",
    "known",
    "misses",
    "misses_part",
    "of_host",
    "of_key",
    "of_template",
    "of_totals",
    "op_units",
    "part_of",
    "per_second",
    "place",
    "scaled",
    "share_of",
    "spread",
    "template_requests",
    "top_host",
    "value_bytes",
    "whole",
    "word",
]


class Unit(StrEnum):
    """What a field is measured in, as a rule writes it."""

    NUMBER = "number"
    RATE = "rate"
    PART = "part"
    MULTIPLE = "multiple"
    BYTES = "bytes"
    SECONDS = "seconds"
    WORD = "word"
    TEXT = "text"
    FLAG = "flag"


UNKNOWN = Measurement(None, None)
Read = Callable[[EvalContext, Subject], Measurement]


def of_key(read: Callable[[EvalContext, KeyRow], Measurement]) -> Read:
    return lambda scene, thing: read(scene, thing.row) if isinstance(thing.row, KeyRow) else UNKNOWN


def of_template(read: Callable[[EvalContext, TemplateRow], Measurement]) -> Read:
    return lambda scene, thing: read(scene, thing.row) if isinstance(thing.row, TemplateRow) else UNKNOWN


def of_host(read: Callable[[EvalContext, HostRow], Measurement]) -> Read:
    return lambda scene, thing: read(scene, thing.row) if isinstance(thing.row, HostRow) else UNKNOWN


def of_totals(read: Callable[[EvalContext], Measurement]) -> Read:
    return lambda scene, _: read(scene)


def exact(value: float | None) -> Measurement:
    return UNKNOWN if value is None else Measurement(Bounds(value, value), Bounds(value, value))


def word(word: str) -> Measurement:
    return Measurement(frozenset({word}), frozenset({word}))


def scaled(count: Measurement, by: float | None) -> Measurement:
    """Counts as rates: windows are measured."""
    if by is None or not isinstance(count.seen, Bounds) or not isinstance(count.whole, Bounds):
        return UNKNOWN
    return Measurement(
        *(Bounds(rounded(one.low * by), rounded(one.high * by) if by else 0.0) for one in (count.seen, count.whole))
    )


def per_second(scene: EvalContext) -> float | None:
    totals = scene.totals
    return totals.rate / totals.requests if totals.requests and totals.rate is not None else None


def key_requests(scene: EvalContext, thing: Subject) -> Measurement:
    """Of a key that is not in the report only the most is known."""
    row = thing.row
    if isinstance(row, KeyRow):
        return scene.count(row.requests, row.requests_max)
    return scene.count(0, scene.unlisted_most)


def share_of(scene: EvalContext, requests: Measurement) -> Measurement:
    whole = scene.totals.requests
    if not whole or not isinstance(requests.seen, Bounds):
        return UNKNOWN
    return scene.part(requests.seen.low / whole, min(requests.seen.high / whole, 1.0))


def _hidden(row: KeyRow) -> int:
    """Requests of the key that may have been, of a kind and on a host that nobody knows."""
    return row.requests_max - row.requests


def op_units(op: str) -> Mapping[Unit, Read]:
    def part(scene: EvalContext, row: KeyRow) -> Measurement:
        if row.ops is None:
            return UNKNOWN
        count, hidden = row.ops.get(op, 0), _hidden(row)
        return scene.part(count / row.requests_max, (count + hidden) / row.requests_max) if row.requests else UNKNOWN

    def number(scene: EvalContext, row: KeyRow) -> Measurement:
        return UNKNOWN if row.ops is None else scene.count(row.ops.get(op, 0), row.ops.get(op, 0) + _hidden(row))

    return {Unit.PART: of_key(part), Unit.NUMBER: of_key(number)}


def misses_part(scene: EvalContext, row: KeyRow) -> Measurement:
    """Of its lookups; of a key that was only written, none missed."""
    if row.misses is None or row.ops is None:
        return UNKNOWN
    gets, hidden = row.ops.get("get", 0), _hidden(row)
    most = gets + hidden
    return scene.part(row.misses / most, min((row.misses + hidden) / most, 1.0)) if most else exact(0.0)


def misses(scene: EvalContext, row: KeyRow) -> Measurement:
    return UNKNOWN if row.misses is None else scene.count(row.misses, row.misses + _hidden(row))


def spread(scene: EvalContext, row: KeyRow) -> Measurement:
    """What is not known of a key can change where it seems to be, but for one host with nearly all in any case."""
    hidden = _hidden(row)
    surely = not hidden or (row.top_host is not None and row.top_host.requests >= 0.9 * row.requests_max)
    return scene.words(row.spread.value) if surely else Measurement(frozenset({row.spread.value}), None)


def top_host(scene: EvalContext, row: KeyRow) -> Measurement:
    return UNKNOWN if row.top_host is None else scene.words(escape_text(row.top_host.host))


def key_hosts(scene: EvalContext, row: KeyRow) -> Measurement:
    return scene.count(row.hosts, scene.totals.hosts_traced if _hidden(row) else row.hosts)


def value_bytes(scene: EvalContext, row: KeyRow) -> Measurement:
    if row.value_bytes is None:
        return UNKNOWN
    return scene.count(row.value_bytes, ANY_NUMBER.high if _hidden(row) else row.value_bytes)


def bytes_out(_: EvalContext, row: KeyRow) -> Measurement:
    """An estimate: nothing is certain about it."""
    return UNKNOWN if row.bytes_out is None else Measurement(Bounds(row.bytes_out, row.bytes_out), ANY_NUMBER)


def place(scene: EvalContext, row: KeyRow) -> Measurement:
    seen = scene.place(row)
    return Measurement(seen, Bounds(1.0, ANY_NUMBER.high) if scene.open_why else seen)


def template_requests(scene: EvalContext, row: TemplateRow) -> Measurement:
    """Members that no host listed may be more."""
    kept, whole = scene.evidence.kept, scene.totals.requests or 0
    unlisted = whole - row.requests if kept is None else kept.total - kept.listed
    return scene.count(row.requests, min(row.requests + max(unlisted, 0), whole))


def hottest(scene: EvalContext, row: TemplateRow) -> Measurement:
    if row.hottest is None or not row.requests:
        return UNKNOWN
    return scene.part(row.hottest / row.requests, row.hottest / row.requests)


def host_count(number: Callable[[HostRow], float | None]) -> Read:
    def read(scene: EvalContext, row: HostRow) -> Measurement:
        value = number(row)
        return UNKNOWN if value is None else scene.on_host(row, value)

    return of_host(read)


def host_share(scene: EvalContext, row: HostRow) -> Measurement:
    return UNKNOWN if row.share is None else scene.part(row.share, row.share)


def whole(number: Callable[[EvalContext], float | None]) -> Read:
    """A count of the run's that what is missing adds to."""

    def read(scene: EvalContext) -> Measurement:
        value = number(scene)
        return UNKNOWN if value is None else scene.count(value, value)

    return of_totals(read)


def known(number: Callable[[EvalContext], float | None]) -> Read:
    """A figure of the run that is what it is, whoever is missing."""
    return of_totals(lambda scene: exact(number(scene)))


def part_of(number: Callable[[EvalContext], float], whole: Callable[[EvalContext], float]) -> Read:
    return of_totals(lambda scene: exact(number(scene) / whole(scene) if whole(scene) else None))
