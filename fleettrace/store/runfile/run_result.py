"""Build a `RunResult` from merged run files: the hosts, joined over files and runs, and the fleet's summary.

A host that several runs traced is one host: its instances' windows follow each other, so counts and windows are added,
and its rate is the mean over all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from fleettrace.errors import HostState
from fleettrace.store.runfile.hottest import hottest_fleet
from fleettrace.store.runfile.merge import Merged, preference
from fleettrace.store.runfile.reader import HostRecord, StoredSummary
from fleettrace.summary.counts import Summary, add_known
from fleettrace.summary.fleet import hottest
from fleettrace.summary.host_stats import joined
from fleettrace.summary.run import Coverage, Failure, HostResult, InstanceResult, RunInfo, RunResult, Warn

__all__ = ["fleet_parts", "run_result", "without_counts"]

_TOP_PER_HOST = 100
"""The same as `SweepSettings.top_per_host`."""

_MOST_ROWS = 300_000
"""The most rows that are all held in memory: up to a kilobyte each, with their timelines."""

_OTHER_KEYS = 100_000
"""Keys beside the hottest in a summary of more rows: the search for families uses as many."""


def run_result(merged: Merged, *, top: int = 20, most_rows: int = _MOST_ROWS) -> RunResult:
    """Return the run as it was when the file was written; for several runs, one that spans them all.

    With more than `most_rows` rows, the summary is exact for the `top` hottest keys and incomplete for others, and a
    warning reports that.
    """
    result = without_counts(merged)
    timelines = _share_buckets(merged)
    parts = list(fleet_parts(merged))
    if merged.rows > most_rows:
        result.fleet = hottest_fleet(result.info.id, parts, top, others=_OTHER_KEYS, timeline=timelines)
        result.warnings.append(
            Warn(
                "merged-hottest",
                f"the files have {merged.rows:,} rows, so families and distinct keys are counted among the hottest "
                f"keys of each instance only, as lower bounds; the {top} hottest keys and all totals are exact",
            )
        )
    else:
        for host, instances in parts:
            result.fleet.add_host(result.info.id, host, _summaries(instances, timelines))
    repeated = {host for host, records in _by_host(merged).items() if len(records) > 1}
    places = {host.host: host for host in result.hosts}
    for host, instances in parts:
        if host in repeated:
            joined = Summary()
            for summary in _summaries(instances, timelines).values():
                joined.add(summary)
            places[host].top, places[host].timeline = hottest(joined, _TOP_PER_HOST), joined.timeline
    return result


def _summaries(instances: Iterable[tuple[str, StoredSummary]], timelines: bool) -> dict[str, Summary]:
    summaries = {name: counted.summary() for name, counted in instances}
    if not timelines:
        for summary in summaries.values():
            summary.timeline = []
            for count in summary.keys.values():
                count.timeline = []
    return summaries


def _share_buckets(merged: Merged) -> bool:
    """Return whether the runs' timelines can be added: all have the same bucket length."""
    return len({info.bucket_s for info in merged.runs.values()}) <= 1


def without_counts(merged: Merged) -> RunResult:
    """Return the run with an empty summary of the fleet: its hosts and their states."""
    info = _one_run(list(merged.runs.values()))
    by_host = _by_host(merged)
    hosts = [_host(by_host[name]) for name in _in_order(by_host)]
    warnings = [
        *dict.fromkeys(warn for name in _in_order(by_host) for each in by_host[name] for warn in each.warnings),
        *sorted(merged.warnings, key=lambda warn: (warn.code, warn.host or "", warn.message)),
    ]
    if not _share_buckets(merged):
        warnings.append(
            Warn("timelines-differ", "the runs' timelines have buckets of different lengths: none is shown")
        )
        for host in hosts:
            host.timeline = []
    return RunResult(info, hosts, warnings=warnings)


def fleet_parts(merged: Merged) -> Iterable[tuple[str, list[tuple[str, StoredSummary]]]]:
    """Yield each host with the summaries of its instances in every run, each under a unique name."""
    several = len(merged.runs) > 1
    for host, records in sorted(_by_host(merged).items()):
        yield (
            host,
            [(f"{run} {instance}" if several else instance, counted) for run, instance, counted in _chosen(records)],
        )


def _by_host(merged: Merged) -> dict[str, list[HostRecord]]:
    """Return every host's records, in the order of the runs."""
    by_host: dict[str, list[HostRecord]] = {}
    order = {run: place for place, run in enumerate(_runs_in_order(merged))}
    for (_, host), records in sorted(merged.records.items(), key=lambda item: order[item[0][0]]):
        by_host.setdefault(host, []).extend(records)
    return by_host


def _runs_in_order(merged: Merged) -> list[str]:
    return sorted(merged.runs, key=lambda run: (merged.runs[run].started, run))


def _in_order(by_host: dict[str, list[HostRecord]]) -> list[str]:
    """Return the hosts in the order of a single run, or by name for several runs."""
    if len({record.run for records in by_host.values() for record in records}) > 1:
        return sorted(by_host)
    return sorted(by_host, key=lambda host: (min(record.document["place"] for record in by_host[host]), host))


def _chosen(records: Sequence[HostRecord]) -> list[tuple[str, str, StoredSummary]]:
    """Return run, instance and summary of every instance, from the preferred one of several records in a run."""
    chosen: dict[tuple[str, str], StoredSummary] = {}
    # `preference` is slow to compute, and a single record does not need it.
    for record in records if len(records) == 1 else sorted(records, key=preference):
        chosen.update({(record.run, instance): counted for instance, counted in record.counted.items()})
    return [(run, instance, counted) for (run, instance), counted in sorted(chosen.items())]


def _host(records: Sequence[HostRecord]) -> HostResult:
    """Join all records of one host."""
    if len(records) == 1:
        return records[0].result
    instances: dict[str, InstanceResult] = {}
    by_run: dict[str, dict[str, InstanceResult]] = {}
    for record in sorted(records, key=preference):
        by_run.setdefault(record.run, {}).update(_instances(record))
    for run in dict.fromkeys(record.run for record in records):
        for name, instance in by_run[run].items():
            known = instances.get(name)
            instances[name] = instance if known is None else _longer(known, instance)
    states = {record.result.state for record in records}
    failures = list(dict.fromkeys(each.result.error for each in records if each.result.error is not None))
    return HostResult(
        host=records[0].host,
        state=_common_state(states),
        error=Failure(failures[0].code, "; ".join(each.message for each in failures)) if failures else None,
        instances=list(instances.values()),
        items={key: facts for record in records for key, facts in record.result.items.items()},
        marks=records[-1].result.marks,
    )


def _common_state(states: set[HostState]) -> HostState:
    """Return the state that all runs share, `ok` if the host was always complete, else `partial`."""
    if len(states) > 1 and all(state.complete for state in states):
        return HostState.OK
    return states.pop() if len(states) == 1 else HostState.PARTIAL


def _instances(record: HostRecord) -> dict[str, InstanceResult]:
    """Return the instances by id if they were counted, else by pid."""
    ids = {int(name.partition("@")[0]): name for name in record.counted}
    return {ids.get(each.pid, str(each.pid)): each for each in record.result.instances}


def _longer(a: InstanceResult, b: InstanceResult) -> InstanceResult:
    """Join the results of one instance from two successive runs."""
    if a.requests is None or b.requests is None:
        return b if a.requests is None else a
    worse = a if a.state is not HostState.OK else b
    coverage = None
    if a.coverage is not None and b.coverage is not None:
        coverage = Coverage(a.coverage.counted + b.coverage.counted, a.coverage.traced + b.coverage.traced)
    return replace(
        b,
        state=worse.state,
        error=worse.error,
        probe=b.probe if a.probe.exact else a.probe,
        window_s=None if a.window_s is None or b.window_s is None else a.window_s + b.window_s,
        requests=a.requests + b.requests,
        absent=add_known(a.absent, b.absent),
        coverage=coverage,
        stats=None if a.stats is None or b.stats is None else joined(a.stats, b.stats),
    )


def _one_run(runs: Sequence[RunInfo]) -> RunInfo:
    """Return one run that spans all: from the first start to the last end, with an id derived from all ids."""
    if len(runs) == 1:
        return replace(runs[0])
    runs = sorted(runs, key=attrgetter("started", "id"))
    ended: list[datetime] = [run.finished for run in runs if run.finished is not None]
    names = hashlib.sha256("\n".join(run.id for run in runs).encode()).hexdigest()
    return RunInfo(
        id=f"merged-{names[:12]}",
        started=runs[0].started,
        pattern=",".join(dict.fromkeys(run.pattern for run in runs)),
        duration_s=max(run.duration_s for run in runs),
        version=max(run.version for run in runs),
        bucket_s=max(run.bucket_s for run in runs),
        finished=max(ended) if len(ended) == len(runs) else None,
    )
