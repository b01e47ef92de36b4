"""Read each field of a rule from a report: its value on the traced hosts, and its bounds in the whole fleet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from fleettrace.playbook.rules.eval_context import EvalContext, Subject, rounded
from fleettrace.playbook.rules.values import ANY_NUMBER, Bounds, Measurement
from fleettrace.report.escape import escape_text
from fleettrace.report.model import HostRow, KeyRow, TemplateRow
from fleettrace.summary.host_totals import HostTotals, host_totals
from fleettrace.summary.items import NEVER

__all__ = [
    "UNKNOWN",
    "Read",
    "Unit",
    "bytes_out",
    "exact",
    "host_count",
    "host_share",
    "host_stat",
    "hottest",
    "key_hosts",
    "key_requests",
    "key_size",
    "key_ttl",
    "misses",
    "misses_part",
    "of_host",
    "of_key",
    "of_template",
    "of_totals",
    "op_units",
    "per_second",
    "place",
    "run_count",
    "run_exact",
    "run_part",
    "scaled",
    "share_of",
    "spread",
    "template_requests",
    "top_host",
    "value_bytes",
    "word",
]


class Unit(StrEnum):
    """The unit of a field, as rules write it."""

    NUMBER = "number"
    RATE = "rate"
    PART = "part"
    MULTIPLE = "multiple"
    BYTES = "bytes"
    BYTES_RATE = "bytes per second"
    SECONDS = "seconds"
    WORD = "word"
    TEXT = "text"
    FLAG = "flag"


UNKNOWN = Measurement(None, None)
_CLIENT_FLAGS = 4
Read = Callable[[EvalContext, Subject], Measurement]


def of_key(read: Callable[[EvalContext, KeyRow], Measurement]) -> Read:
    return lambda context, subject: read(context, subject.row) if isinstance(subject.row, KeyRow) else UNKNOWN


def of_template(read: Callable[[EvalContext, TemplateRow], Measurement]) -> Read:
    return lambda context, subject: read(context, subject.row) if isinstance(subject.row, TemplateRow) else UNKNOWN


def of_host(read: Callable[[EvalContext, HostRow], Measurement]) -> Read:
    return lambda context, subject: read(context, subject.row) if isinstance(subject.row, HostRow) else UNKNOWN


def of_totals(read: Callable[[EvalContext], Measurement]) -> Read:
    return lambda context, _: read(context)


def exact(value: float | None) -> Measurement:
    return UNKNOWN if value is None else Measurement(Bounds(value, value), Bounds(value, value))


def word(word: str) -> Measurement:
    return Measurement(frozenset({word}), frozenset({word}))


def scaled(count: Measurement, by: float | None) -> Measurement:
    """Return a count multiplied by `by`, such as 1 / window."""
    if by is None or not isinstance(count.seen, Bounds) or not isinstance(count.fleet, Bounds):
        return UNKNOWN
    return Measurement(
        *(Bounds(rounded(one.low * by), rounded(one.high * by) if by else 0.0) for one in (count.seen, count.fleet))
    )


def per_second(context: EvalContext) -> float | None:
    totals = context.totals
    return totals.rate / totals.requests if totals.requests and totals.rate is not None else None


def key_requests(context: EvalContext, subject: Subject) -> Measurement:
    """Return the requests of a key; a key outside the report has an upper bound only."""
    row = subject.row
    if isinstance(row, KeyRow):
        return context.count(row.requests, row.requests_max)
    return context.count(0, context.unlisted_max)


def share_of(context: EvalContext, requests: Measurement) -> Measurement:
    total = context.totals.requests
    if not total or not isinstance(requests.seen, Bounds):
        return UNKNOWN
    return context.part(requests.seen.low / total, min(requests.seen.high / total, 1.0))


def _unattributed(row: KeyRow) -> int:
    """Return how many more requests the key can have had, of an unknown operation on an unknown host."""
    return row.requests_max - row.requests


def op_units(op: str) -> Mapping[Unit, Read]:
    def part(context: EvalContext, row: KeyRow) -> Measurement:
        if row.ops is None or not row.requests:
            return UNKNOWN
        count, most = row.ops.get(op, 0), row.requests_max
        return context.part(count / most, (count + _unattributed(row)) / most)

    def number(context: EvalContext, row: KeyRow) -> Measurement:
        if row.ops is None:
            return UNKNOWN
        count = row.ops.get(op, 0)
        return context.count(count, count + _unattributed(row))

    return {Unit.PART: of_key(part), Unit.NUMBER: of_key(number)}


def misses_part(context: EvalContext, row: KeyRow) -> Measurement:
    """Return the share of the key's lookups that missed; 0 for a key without lookups."""
    if row.misses is None or row.ops is None:
        return UNKNOWN
    gets, unattributed = row.ops.get("get", 0), _unattributed(row)
    most = gets + unattributed
    return context.part(row.misses / most, min((row.misses + unattributed) / most, 1.0)) if most else exact(0.0)


def misses(context: EvalContext, row: KeyRow) -> Measurement:
    return UNKNOWN if row.misses is None else context.count(row.misses, row.misses + _unattributed(row))


def spread(context: EvalContext, row: KeyRow) -> Measurement:
    """Return the spread; unattributed requests can change it, unless one host has 90 % of the most possible."""
    unattributed = _unattributed(row)
    surely = not unattributed or (row.top_host is not None and row.top_host.requests >= 0.9 * row.requests_max)
    return context.words(row.spread.value) if surely else Measurement(frozenset({row.spread.value}), None)


def top_host(context: EvalContext, row: KeyRow) -> Measurement:
    return UNKNOWN if row.top_host is None else context.words(escape_text(row.top_host.host))


def key_hosts(context: EvalContext, row: KeyRow) -> Measurement:
    return context.count(row.hosts, context.totals.hosts_traced if _unattributed(row) else row.hosts)


def value_bytes(context: EvalContext, row: KeyRow) -> Measurement:
    if row.value_bytes is None:
        return UNKNOWN
    return context.count(row.value_bytes, ANY_NUMBER.high if _unattributed(row) else row.value_bytes)


def key_size(_: EvalContext, row: KeyRow) -> Measurement:
    """Return the size of the value; client flags, which memcached does not show, take four bytes of it."""
    size = row.item.size
    return UNKNOWN if size is None else Measurement(*[Bounds(max(size - _CLIENT_FLAGS, 0), size)] * 2)


def key_ttl(_: EvalContext, row: KeyRow) -> Measurement:
    return exact(float("inf") if row.item.ttl_s == NEVER else row.item.ttl_s)


def bytes_out(_: EvalContext, row: KeyRow) -> Measurement:
    """Return the estimate of the bytes sent; it bounds nothing."""
    return UNKNOWN if row.bytes_out is None else Measurement(Bounds(row.bytes_out, row.bytes_out), ANY_NUMBER)


def place(context: EvalContext, row: KeyRow) -> Measurement:
    seen = context.place(row)
    return Measurement(seen, Bounds(1.0, ANY_NUMBER.high) if context.gaps else seen)


def template_requests(context: EvalContext, row: TemplateRow) -> Measurement:
    """Return the requests of a family; keys that no host listed can add to them."""
    stored, total = context.evidence.stored, context.totals.requests or 0
    unlisted = total - row.requests if stored is None else stored.total - stored.listed
    return context.count(row.requests, min(row.requests + max(unlisted, 0), total))


def hottest(context: EvalContext, row: TemplateRow) -> Measurement:
    if row.hottest is None or not row.requests:
        return UNKNOWN
    return context.part(row.hottest / row.requests, row.hottest / row.requests)


def host_count(number: Callable[[HostRow], float | None]) -> Read:
    def read(context: EvalContext, row: HostRow) -> Measurement:
        value = number(row)
        return UNKNOWN if value is None else context.on_host(row, value)

    return of_host(read)


def host_stat(number: Callable[[HostTotals], float | None]) -> Read:
    """Return a reader of memcached's own stats, which are exact whatever was traced."""
    return of_host(lambda _, row: exact(number(host_totals(row.instances))))


def host_share(context: EvalContext, row: HostRow) -> Measurement:
    return UNKNOWN if row.share is None else context.part(row.share, row.share)


def run_count(number: Callable[[EvalContext], float | None]) -> Read:
    """Return a reader of a run's count, to which missing hosts can add."""

    def read(context: EvalContext) -> Measurement:
        value = number(context)
        return UNKNOWN if value is None else context.count(value, value)

    return of_totals(read)


def run_exact(number: Callable[[EvalContext], float | None]) -> Read:
    """Return a reader of a run's value that missing hosts do not change."""
    return of_totals(lambda context: exact(number(context)))


def run_part(number: Callable[[EvalContext], float], total: Callable[[EvalContext], float]) -> Read:
    return of_totals(lambda context: exact(number(context) / total(context) if total(context) else None))
