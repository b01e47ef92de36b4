"""Generated runs, written to run files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

from fleettrace.errors import HostState
from fleettrace.store.runfile.writer import RunFileWriter
from fleettrace.summary.counts import Summary
from fleettrace.summary.fleet import hottest
from fleettrace.summary.run import Coverage, Failure, HostResult, InstanceResult, ProbeVerdict, RunInfo, Warn
from tests.summary.strategies import summaries

__all__ = ["Swept", "host_result", "info", "runs", "write"]

_START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_STATES = [HostState.OK, HostState.PARTIAL, HostState.UNREACHABLE]


def info(run: str, *, bucket_s: float = 1.0) -> RunInfo:
    """Return a run of ten seconds."""
    return RunInfo(run, _START, "all", 10.0, "0.1.0", bucket_s, _START + timedelta(seconds=11))


def host_result(
    name: str, counted: Mapping[str, Summary], state: HostState = HostState.OK, window_s: float = 10.0
) -> HostResult:
    """Return a finished host; its instances have ids such as `7@1` for the pid 7."""
    whole = Summary()
    for summary in counted.values():
        whole.add(summary)
    instances = [
        InstanceResult(
            pid=int(instance.partition("@")[0]),
            state=state,
            exe="/usr/bin/memcached",
            probe=ProbeVerdict("item", exact=True, symbol="do_item_get", why="by symbol"),
            ports=(11211,),
            window_s=window_s,
            requests=summary.total,
            absent=summary.absent,
            coverage=Coverage(summary.total, summary.total),
        )
        for instance, summary in sorted(counted.items())
    ]
    error = None if state is HostState.OK else Failure(state.value, "it was so")
    return HostResult(name, state, error, instances, hottest(whole, 100), list(whole.timeline))


@dataclass
class Swept:
    """The hosts of one run, in the order in which they finished."""

    run: str
    hosts: list[tuple[HostResult, dict[str, Summary]]] = field(default_factory=list)
    warnings: list[Warn] = field(default_factory=list)


_hosts = st.tuples(
    st.sampled_from(["c1", "c2", "c3"]),
    st.sampled_from(_STATES),
    st.dictionaries(st.sampled_from(["1@5", "2@5"]), summaries, max_size=2),
    st.sampled_from([5.0, 10.0]),
)


def _swept(run: str, hosts: list[tuple[str, HostState, dict[str, Summary], float]]) -> Swept:
    by_name = {name: (host_result(name, counted, state, window), counted) for name, state, counted, window in hosts}
    return Swept(run, list(by_name.values()))


runs = st.builds(_swept, st.sampled_from(["run-1", "run-2"]), st.lists(_hosts, max_size=3))
"""The part of a run that one controller swept; parts can overlap."""


def write(path: Path, swept: Swept) -> Path:
    """Write its run file and return the path."""
    with RunFileWriter(path) as writer:
        for place, (host, counted) in enumerate(swept.hosts):
            writer.add(swept.run, host, counted, [Warn("odd", f"{host.host} is odd", host.host)], place)
        writer.finish([info(swept.run)], swept.warnings)
    return path
