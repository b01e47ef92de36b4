"""The fields that a rule can name, each with its units and its reader (docs/reference/rule-fields.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fleettrace.errors import HostState
from fleettrace.playbook.findings import SubjectKind
from fleettrace.playbook.rules.eval_context import EvalContext, Subject
from fleettrace.playbook.rules.measurements import (
    UNKNOWN,
    Read,
    Unit,
    bytes_out,
    exact,
    host_count,
    host_share,
    host_stat,
    hottest,
    key_hosts,
    key_requests,
    key_size,
    key_ttl,
    misses,
    misses_part,
    of_host,
    of_key,
    of_template,
    of_totals,
    op_units,
    per_second,
    place,
    run_count,
    run_exact,
    run_part,
    scaled,
    share_of,
    spread,
    template_requests,
    top_host,
    value_bytes,
    word,
)
from fleettrace.playbook.rules.values import ANY_NUMBER, Measurement, Value
from fleettrace.report.imbalance import CauseKind
from fleettrace.report.model import Spread
from fleettrace.report.number_format import compact, percent, seconds, size, times
from fleettrace.report.timeline import TrendKind

__all__ = ["BARE", "FIELDS", "Field", "shown_value"]


@dataclass(frozen=True)
class Field:
    """A field of a report that a rule can name."""

    name: str
    kind: SubjectKind
    units: Mapping[Unit, Read]
    """The units in which it can be read, each with its reader; messages use the first."""
    description: str
    words: tuple[str, ...] = field(default=())
    """All values of a field of the unit WORD."""
    of_counts: bool = False
    """Whether a key that no host listed has it too: a count, or computed from one."""

    @property
    def unit(self) -> Unit:
        """Return the unit that messages use."""
        return next(iter(self.units))


def _name(_: EvalContext, subject: Subject) -> Measurement:
    return word(subject.shown)


K, T, H, R = SubjectKind.KEY, SubjectKind.TEMPLATE, SubjectKind.HOST, SubjectKind.TOTALS
_OPS = ("get", "set", "delete", "arith", "touch", "other")

_KEY_FIELDS = (
    Field(
        "key.name",
        K,
        {Unit.TEXT: _name},
        "its name, escaped as everywhere in the report",
    ),
    Field("key.requests", K, {Unit.NUMBER: key_requests}, "its requests in the window", of_counts=True),
    Field(
        "key.share",
        K,
        {Unit.PART: lambda context, subject: share_of(context, key_requests(context, subject))},
        "its part of all requests",
        of_counts=True,
    ),
    Field(
        "key.rate",
        K,
        {Unit.RATE: lambda context, subject: scaled(key_requests(context, subject), per_second(context))},
        "its requests per second",
        of_counts=True,
    ),
    Field("key.place", K, {Unit.NUMBER: of_key(place)}, "its rank, 1 for the hottest"),
    Field(
        "key.certified",
        K,
        {Unit.FLAG: of_key(lambda _, row: word("yes" if row.certified else "no"))},
        "whether it is certified: provably in the report's top",
    ),
    Field(
        "key.misses",
        K,
        {Unit.PART: of_key(misses_part), Unit.NUMBER: of_key(misses)},
        "its lookups that missed, as a part of its lookups or a number; needs `misses: true`",
    ),
    *(
        Field(f"key.ops.{op}", K, op_units(op), f"its requests of the operation `{op}`, as a part or a number")
        for op in _OPS
    ),
    Field("key.value_bytes", K, {Unit.BYTES: of_key(value_bytes)}, "bytes of the values written"),
    Field("key.size", K, {Unit.BYTES: of_key(key_size)}, "bytes of its value, as memcached reported after the window"),
    Field(
        "key.ttl",
        K,
        {Unit.SECONDS: of_key(key_ttl)},
        "seconds until it expired then; without an end it is longer than any time",
    ),
    Field("key.bytes_out", K, {Unit.BYTES: of_key(bytes_out)}, "bytes sent to clients, estimated: never certain"),
    Field("key.hosts", K, {Unit.NUMBER: of_key(key_hosts)}, "hosts that listed it"),
    Field("key.spread", K, {Unit.WORD: of_key(spread)}, "how widely it is spread over the fleet", tuple(Spread)),
    Field(
        "key.top_host",
        K,
        {
            Unit.TEXT: of_key(top_host),
        },
        "the host with most of its requests",
    ),
    Field(
        "key.top_host.share",
        K,
        {Unit.PART: of_key(lambda _, row: UNKNOWN if row.top_host is None else exact(row.top_host.share))},
        "its part of all requests of that host",
    ),
    Field(
        "key.trend",
        K,
        {Unit.WORD: of_key(lambda _, row: word("none" if row.trend is None else row.trend.kind.value))},
        "the anomaly of its timeline",
        (*TrendKind, "none"),
    ),
)

_TEMPLATE_FIELDS = (
    Field("template.name", T, {Unit.TEXT: _name}, "its name, such as `user:{}:profile`"),
    Field("template.requests", T, {Unit.NUMBER: of_template(template_requests)}, "requests of its keys"),
    Field(
        "template.share",
        T,
        {Unit.PART: of_template(lambda context, row: share_of(context, template_requests(context, row)))},
        "its part of all requests",
    ),
    Field(
        "template.rate",
        T,
        {Unit.RATE: of_template(lambda context, row: scaled(template_requests(context, row), per_second(context)))},
        "its requests per second",
    ),
    Field(
        "template.keys",
        T,
        {Unit.NUMBER: of_template(lambda context, row: context.count(row.keys, ANY_NUMBER.high))},
        "its keys that were seen: a lower bound",
    ),
    Field(
        "template.hottest",
        T,
        {
            Unit.PART: of_template(hottest),
            Unit.NUMBER: of_template(lambda _, row: exact(row.hottest)),
        },
        "requests of its hottest key, as a part of the family's or a number",
    ),
)

_HOST_FIELDS = (
    Field("host.name", H, {Unit.TEXT: _name}, "its name in the inventory"),
    Field(
        "host.state",
        H,
        {Unit.WORD: of_host(lambda _, row: word(row.state.value))},
        "its state in the report",
        tuple(HostState),
    ),
    Field("host.requests", H, {Unit.NUMBER: host_count(lambda row: row.requests)}, "its requests in the window"),
    Field("host.rate", H, {Unit.RATE: host_count(lambda row: row.rate)}, "its requests per second"),
    Field("host.share", H, {Unit.PART: of_host(host_share)}, "its part of all requests"),
    Field(
        "host.load",
        H,
        {Unit.MULTIPLE: host_count(lambda row: row.load)},
        "its rate as a multiple of the mean of the hosts traced",
    ),
    Field(
        "host.coverage",
        H,
        {Unit.PART: of_host(lambda _, row: exact(None if row.coverage is None else row.coverage.share))},
        "the traced part of the requests that memcached counted",
    ),
    Field(
        "host.evictions",
        H,
        {Unit.RATE: host_stat(lambda totals: totals.evictions)},
        "items that it evicts per second, by memcached's own counters",
    ),
    Field(
        "host.hit_ratio",
        H,
        {Unit.PART: host_stat(lambda totals: totals.hit_ratio)},
        "the part of look-ups that hit, by memcached's own counters",
    ),
    Field(
        "host.bytes_out",
        H,
        {unit: host_stat(lambda totals: totals.bytes_out) for unit in (Unit.BYTES_RATE, Unit.BYTES)},
        "bytes that it sends to clients per second, by memcached's own counters",
    ),
    Field(
        "host.connections",
        H,
        {Unit.NUMBER: host_stat(lambda totals: totals.connections)},
        "connections of clients at the end of the window",
    ),
    Field(
        "host.instances",
        H,
        {Unit.NUMBER: of_host(lambda _, row: exact(len(row.instances)))},
        "memcached processes found on it",
    ),
    Field(
        "host.cause",
        H,
        {Unit.WORD: of_host(lambda _, row: word("none" if row.cause is None else row.cause.kind.value))},
        "the cause of its load, from 1.5 times the mean on",
        (*CauseKind, "none"),
    ),
)

_TOTALS_FIELDS = (
    Field("totals.hosts", R, {Unit.NUMBER: run_exact(lambda context: context.totals.hosts)}, "hosts selected"),
    Field(
        "totals.hosts_ok",
        R,
        {
            Unit.NUMBER: run_exact(lambda context: context.totals.hosts_ok),
            Unit.PART: run_part(lambda context: context.totals.hosts_ok, lambda context: context.totals.hosts),
        },
        "hosts traced completely, as a number or a part of all",
    ),
    Field(
        "totals.hosts_traced",
        R,
        {
            Unit.NUMBER: run_exact(lambda context: context.totals.hosts_traced),
            Unit.PART: run_part(lambda context: context.totals.hosts_traced, lambda context: context.totals.hosts),
        },
        "hosts with traffic in the report, as a number or a part of all",
    ),
    Field(
        "totals.hosts_missing",
        R,
        {
            Unit.NUMBER: run_exact(lambda context: len(context.totals.missing)),
            Unit.PART: run_part(lambda context: len(context.totals.missing), lambda context: context.totals.hosts),
        },
        "hosts with incomplete or absent data, as a number or a part of all",
    ),
    Field("totals.instances", R, {Unit.NUMBER: run_exact(lambda context: context.totals.instances)}, "instances found"),
    Field(
        "totals.instances_traced",
        R,
        {Unit.NUMBER: run_exact(lambda context: context.totals.instances_traced)},
        "instances traced",
    ),
    Field("totals.requests", R, {Unit.NUMBER: run_count(lambda context: context.totals.requests)}, "all requests"),
    Field("totals.rate", R, {Unit.RATE: run_count(lambda context: context.totals.rate)}, "all requests per second"),
    Field(
        "totals.certified",
        R,
        {Unit.NUMBER: run_exact(lambda context: context.totals.certified)},
        "certified keys: provably in the report's top",
    ),
    Field(
        "totals.absent",
        R,
        {
            Unit.PART: run_count(
                lambda context: (
                    context.totals.absent / context.totals.requests
                    if context.totals.absent is not None and context.totals.requests
                    else None
                )
            ),
            Unit.NUMBER: run_count(lambda context: context.totals.absent),
        },
        "the most requests of a key that no host listed, as a part or a number",
    ),
    Field(
        "totals.distinct_keys",
        R,
        {Unit.NUMBER: of_totals(lambda context: context.count(context.totals.distinct, ANY_NUMBER.high))},
        "keys seen: a lower bound",
    ),
    Field(
        "totals.window",
        R,
        {Unit.SECONDS: run_exact(lambda run: None if run.totals.window_s is None else run.totals.window_s[0])},
        "the shortest measured window",
    ),
    Field(
        "totals.coverage",
        R,
        {Unit.PART: run_exact(lambda run: None if run.totals.coverage is None else run.totals.coverage.share)},
        "the traced part of the requests that memcached counted",
    ),
    Field(
        "totals.imbalance",
        R,
        {Unit.MULTIPLE: run_exact(lambda context: context.totals.imbalance)},
        "the load of the hottest host, as a multiple of the mean",
    ),
    Field(
        "totals.tracer_cpu",
        R,
        {Unit.SECONDS: run_exact(lambda context: context.totals.tracer_cpu_s)},
        "CPU time of bpftrace on all hosts",
    ),
)

FIELDS = {one.name: one for one in (*_KEY_FIELDS, *_TEMPLATE_FIELDS, *_HOST_FIELDS, *_TOTALS_FIELDS)}
BARE = {name.removeprefix("totals."): one for name, one in FIELDS.items() if one.kind is R}
BARE["fleet.rate"] = FIELDS["totals.rate"]
"""The fields of the whole run by their names without `totals.`, which rules accept too."""


_SHOWN: Mapping[Unit, Callable[[float], str]] = {
    Unit.NUMBER: lambda number: f"{number:,.0f}",
    Unit.RATE: lambda number: f"{compact(number)}/s",
    Unit.PART: percent,
    Unit.MULTIPLE: times,
    Unit.BYTES: lambda number: size(round(number)),
    Unit.BYTES_RATE: lambda number: f"{size(round(number))}/s",
    Unit.SECONDS: seconds,
}


def shown_value(value: Value, unit: Unit) -> str:
    """Return a value as text, with both bounds where they differ."""
    if value is None:
        return "?"
    if isinstance(value, frozenset):
        return " or ".join(sorted(value))
    show = _SHOWN[unit]
    if unit is Unit.SECONDS and value.low == float("inf"):
        return "never"
    if value.high == float("inf"):
        return f"{show(value.low)} or more"
    low, high = show(value.low), show(value.high)
    return low if low == high else f"{low} to {high}"
