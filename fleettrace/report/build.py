"""Build the report from the result of a run: shares, rates, bounds, causes, families. Pure.

The rate of a key is its share of the fleet's rate: each host has its own measured window, and a key's requests are
merged over all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import nlargest

from fleettrace.errors import HostState
from fleettrace.report.clients import clients_of_host, clients_of_keys
from fleettrace.report.host_folding import fold
from fleettrace.report.imbalance import Cause, find_causes, loads
from fleettrace.report.items import ByBytes, Items, Sort, heaviest, why_unknown
from fleettrace.report.miss_cause import miss_cause
from fleettrace.report.model import HostRow, KeyRow, Report, Spread, TemplateRow, TopHost, Totals
from fleettrace.report.templates import Templates
from fleettrace.report.timeline import trend_of
from fleettrace.summary.counts import OPS, KeyCount
from fleettrace.summary.fleet import Ranked
from fleettrace.summary.host_totals import host_totals
from fleettrace.summary.key import Key
from fleettrace.summary.run import Coverage, HostResult, InstanceResult, RunResult, Warn
from fleettrace.text_format import plural

__all__ = ["build_report"]

_ONE_HOST = 0.9
"""Spread `one`: at least this part of a key's requests is on its hottest host."""

_EVERYWHERE = 0.9
"""Spread `everywhere`: the key is on at least this part of the traced hosts."""

_MINED_KEYS = 100_000
"""The number of keys, the hottest ones, in which families are searched."""

_FAMILIES = 200
"""The number of families, by requests, that can be the cause of a hot host."""

_COVERED = 0.99
"""Below this part of traced traffic, the report has a warning."""


def build_report(
    run: RunResult,
    *,
    top: int = 20,
    patterns: Sequence[re.Pattern[bytes]] = (),
    templates: int = 10,
    sort: Sort = Sort.REQUESTS,
) -> Report:
    """Return the report of `run` with the first `top` keys by `sort` and up to `templates` families.

    `patterns` define the user's families; others are found in the keys. With `templates` 0 there are no families, and
    none can be the cause of a hot host.
    """
    counts = _counts(run) if templates else {}
    families = Templates.learn(counts, patterns, max_templates=_FAMILIES)
    rates = {host.host: rate for host in run.hosts if (rate := host.rate) is not None}
    load = loads(rates)
    causes = find_causes(run.hosts, run.fleet, families, {item.pattern: item.requests for item in families.ranked})
    total, rate = _known_total(run), sum(rates.values()) if rates else None
    items = Items(run.hosts)
    keys = _with_clients(run, tuple(_key_rows(run, items, top, sort, total, rate)))
    return Report(
        info=run.info,
        top=top,
        totals=_totals(run, total, rate, load, sum(row.certified for row in keys)),
        keys=keys,
        templates=tuple(_template_rows(families, templates, counts, total, rate)),
        hosts=tuple(_host_row(host, total, load.get(host.host), causes.get(host.host)) for host in run.hosts),
        warnings=(*run.warnings, *_warnings(run)),
        by_bytes=None if sort is Sort.BYTES else _by_bytes(run, items, keys, total, rate),
        sort=sort,
    )


def _bounds_closed(run: RunResult) -> bool:
    """Return whether the bounds hold for the whole fleet: no host is missing, every count is exact, and the coverage of
    every host is known."""
    known = not run.incomplete_hosts and not _coverage_unknown(run)
    return known and all(instance.probe.exact for instance in _traced(run.hosts))


def _traced(hosts: Iterable[HostResult]) -> list[InstanceResult]:
    return [instance for host in hosts for instance in host.instances if instance.requests is not None]


def _known_total(run: RunResult) -> int | None:
    """Return all requests; None, not 0, when no host could be traced."""
    traced = any(host.requests is not None for host in run.hosts) or bool(run.fleet.total)
    return run.fleet.total if traced or not run.incomplete_hosts else None


def _share(count: int | None, total: int | None) -> float | None:
    return None if count is None or not total else count / total


def _times(share: float | None, rate: float | None) -> float | None:
    return None if share is None or rate is None else share * rate


def _by_bytes(
    run: RunResult, items: Items, keys: Sequence[KeyRow], total: int | None, rate: float | None
) -> ByBytes | None:
    listed = ((key, run.fleet.keys[key].count) for key in items.keys if key in run.fleet.keys)
    counts = [(key, known) for key, known in listed if known is not None]
    hottest = max(keys, key=lambda row: row.requests, default=None)
    sent = [host_totals(host.instances).bytes_out for host in run.hosts if host.instances]
    known = [each for each in sent if each is not None]
    return heaviest(
        items,
        counts,
        None if hottest is None else hottest.key,
        rate / total if rate and total else 0.0,
        sum(known) if len(known) == len(sent) else None,
    )


def _order(items: Items, sort: Sort) -> Callable[[Key, KeyCount], int] | None:
    """Return the sort value of a key; None for the order by requests, which that by rate equals."""
    if sort is Sort.BYTES:
        return lambda key, known: -1 if (sent := items.bytes_out(key, known)) is None else sent
    if sort is Sort.MISSES:
        return lambda _, known: -1 if known.misses is None else known.misses
    return None


def _key_rows(
    run: RunResult, items: Items, top: int, sort: Sort, total: int | None, rate: float | None
) -> Iterable[KeyRow]:
    hosts = {host.host: host for host in run.hosts}
    traced = sum(host.requests is not None for host in run.hosts)
    bounds_open, missing = not _bounds_closed(run), _missing(run)
    for ranked in run.fleet.rank(top, bounds_open=bounds_open, missing=missing, order=_order(items, sort)):
        share = _share(ranked.known.requests, total)
        yield _key_row(ranked, run, items, share, _times(share, rate), hosts.get(ranked.top_host), traced)


def _key_row(
    ranked: Ranked,
    run: RunResult,
    items: Items,
    share: float | None,
    rate: float | None,
    host: HostResult | None,
    traced: int,
) -> KeyRow:
    known, fleet_timeline = ranked.known, run.fleet.timeline
    timeline = tuple(known.timeline) + (0,) * (len(fleet_timeline) - len(known.timeline))
    sent, facts = items.bytes_out(ranked.key, known), items.facts(ranked.key)
    top_host = TopHost(
        ranked.top_host, ranked.top_requests, _share(ranked.top_requests, None if host is None else host.requests)
    )
    return KeyRow(
        key=ranked.key,
        requests=known.requests,
        requests_max=ranked.requests_max,
        share=share,
        rate=rate,
        certified=ranked.certified,
        ops=None if known.ops is None else {op: known.ops[op] for op in OPS if op in known.ops},
        misses=known.misses,
        value_bytes=known.value_bytes,
        item=facts,
        bytes_out=sent,
        out_rate=None if sent is None or rate is None or not known.requests else sent * rate / known.requests,
        unknown=why_unknown(facts, sent, known),
        miss_cause=miss_cause(
            known,
            ranked.requests_max if _bounds_closed(run) and not _missing(run) else None,
            facts,
            host.instances if host is not None and ranked.hosts == 1 else (),
        ),
        hosts=ranked.hosts,
        spread=_spread(ranked, traced),
        top_host=top_host if ranked.top_host else None,
        timeline=timeline,
        trend=trend_of(timeline, fleet_timeline, run.info.bucket_s),
    )


def _with_clients(run: RunResult, rows: tuple[KeyRow, ...]) -> tuple[KeyRow, ...]:
    clients = clients_of_keys(run.hosts, {row.key: row.requests for row in rows})
    return tuple(replace(row, clients=clients[row.key]) for row in rows) if clients else rows


def _spread(ranked: Ranked, traced: int) -> Spread:
    if ranked.hosts <= 1 or ranked.top_requests >= _ONE_HOST * ranked.known.requests:
        return Spread.ONE
    return Spread.EVERYWHERE if ranked.hosts >= _EVERYWHERE * traced else Spread.SEVERAL


def _counts(run: RunResult) -> dict[bytes, int]:
    """Return requests by key, for the search for families. Truncated keys have no family."""
    listed = ((key, known.count.requests) for key, known in run.fleet.keys.items() if known.count is not None)
    complete = ((key.data, requests) for key, requests in listed if not key.truncated)
    return dict(nlargest(_MINED_KEYS, complete, key=lambda item: (item[1], item[0])))


def _template_rows(
    families: Templates, number: int, counts: Mapping[bytes, int], total: int | None, rate: float | None
) -> Iterable[TemplateRow]:
    hottest: dict[str | None, int] = {}
    for key, requests in counts.items():  # the hottest first
        hottest.setdefault(families.of(key), requests)
    for item in families.ranked[:number]:
        share = _share(item.requests, total)
        highest = hottest.get(item.pattern)
        yield TemplateRow(item.pattern, item.requests, share, _times(share, rate), item.keys, highest)


def _host_row(host: HostResult, total: int | None, load: float | None, cause: Cause | None) -> HostRow:
    return HostRow(
        host=host.host,
        state=host.state,
        error=host.error,
        requests=host.requests,
        rate=host.rate,
        share=_share(host.requests, total),
        load=load,
        cause=cause,
        instances=tuple(host.instances),
        top=tuple(host.top),
        timeline=tuple(host.timeline),
        coverage=_coverage(host.instances),
        clients=clients_of_host(host),
    )


def _coverage(instances: Iterable[InstanceResult]) -> Coverage | None:
    """Return the coverage of all instances; None if it is unknown for a traced one."""
    instances = list(instances)
    if any(instance.coverage is None for instance in instances if instance.requests is not None):
        return None
    known = [instance.coverage for instance in instances if instance.coverage is not None]
    return Coverage(sum(item.counted for item in known), sum(item.traced for item in known)) if known else None


def _coverage_unknown(run: RunResult) -> list[str]:
    """Return the hosts with a traced instance of unknown coverage."""
    return [host.host for host in run.hosts if any(instance.coverage is None for instance in _traced([host]))]


def _missing(run: RunResult) -> int:
    """Return the requests that memcached counted beyond the traced ones."""
    known = [item.coverage for item in _traced(run.hosts) if item.coverage is not None]
    return sum(max(0, item.counted - item.traced) for item in known)


def _coverage_low(run: RunResult) -> dict[str, float]:
    """Return the coverage of the hosts for which it is too low."""
    shares = {host.host: covered.share for host in run.hosts if (covered := _coverage(_traced([host]))) is not None}
    return {host: share for host, share in shares.items() if share is not None and share < _COVERED}


def _totals(run: RunResult, total: int | None, rate: float | None, load: Mapping[str, float], certified: int) -> Totals:
    traced = _traced(run.hosts)
    windows = [instance.window_s for instance in traced if instance.window_s is not None]
    cpu = [item.cost.tracer_cpu_s for item in traced if item.cost is not None and item.cost.tracer_cpu_s is not None]
    return Totals(
        hosts=len(run.hosts),
        hosts_ok=sum(host.state is HostState.OK for host in run.hosts),
        hosts_traced=sum(host.requests is not None for host in run.hosts),
        instances=sum(len(host.instances) for host in run.hosts),
        instances_traced=len(traced),
        requests=total,
        rate=rate,
        certified=certified,
        absent=None if total is None else run.fleet.absent,
        distinct=len(run.fleet.keys),
        window_s=(min(windows), max(windows)) if windows else None,
        coverage=_coverage(traced),
        coverage_unknown=tuple(_coverage_unknown(run)),
        imbalance=max(load.values(), default=None),
        tracer_cpu_s=sum(cpu) if cpu else None,
        timeline=tuple(run.fleet.timeline),
        missing=tuple(host.host for host in run.incomplete_hosts),
    )


def _warnings(run: RunResult) -> Iterable[Warn]:
    """Yield the warnings that follow from the numbers."""
    missing = [host.host for host in run.incomplete_hosts]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        message = (
            f"{plural(len(missing), 'host')} {verb} missing or incomplete ({fold(missing)}): no key is certified, and "
            "counts are those of the other hosts"
        )
        yield Warn("bounds-open", message)
    approximate = [host.host for host in run.hosts if any(not item.probe.exact for item in _traced([host]))]
    if approximate:
        yield Warn("approximate", f"counts are approximate on {fold(approximate)}: no key is certified")
    if low := _coverage_low(run):
        worst = min(low.values())
        yield Warn(
            "coverage-low",
            f"the trace counted less than {_COVERED:.0%} of the traffic on {fold(low)} (at worst {worst:.1%})",
        )
    if unknown := _coverage_unknown(run):
        yield Warn(
            "coverage-unknown",
            f"the coverage of the trace is unknown on {fold(unknown)}, so no key is certified: memcached's counters "
            "could not be read (TLS, SASL, -Y, a UNIX socket only, a window too short), or only some requests are "
            "counted (--ops, --script)",
        )
