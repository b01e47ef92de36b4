"""One host of a sweep on the rung `watch`: no bpftrace, no binary to look at, and where need be no root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fleettrace.errors import HostState
from fleettrace.node.model import Discovery
from fleettrace.node.watching import WatchTrace, plan_watch, reachable_without_root
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.run import Failure, HostResult, Warn
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.events import Event, HostProgressed, InstanceStarted, Phase
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.transport.interface import Connection

__all__ = ["watch_host"]


def watch_host(
    task: HostTask,
    connection: Connection,
    found: Discovery,
    *,
    settings: SweepSettings,
    bounds: TraceSettings,
    cancellation: Cancellation,
    tell: Callable[[Event], None],
) -> HostOutcome:
    """Watch the memcacheds of a host. Raises `HostError`."""
    instances = [instance for instance in found.instances if task.selects(instance)]
    if not instances and found.facts.uid != 0:
        instances = reachable_without_root(connection, found.facts, task.selects)
    if not instances:
        return HostOutcome(HostResult(task.name, HostState.NO_INSTANCES))
    tell(HostProgressed(task.name, Phase.PLAN))
    planned = plan_watch(instances)
    watched = [each.instance for each in planned if each.plan is not None]
    if not settings.trace or not watched:
        return outcome_of_plan(task.name, planned)
    cancellation.check()
    tell(HostProgressed(task.name, Phase.ATTACH))

    def started() -> None:
        tell(HostProgressed(task.name, Phase.TRACE))
        for instance in watched:
            tell(InstanceStarted(task.name, instance.pid))

    trace = WatchTrace(found.facts, watched, bounds, started)
    execution = connection.start(trace.script(), trace.limits)
    cancellation.tracing(connection, execution)
    end = trace.read(execution)
    for index, each in enumerate(planned):
        if refused := trace.refused.get(each.instance.pid):
            failure = Failure("watch-refused", f"no way to watch this memcached: {refused}")
            planned[index] = replace(each, plan=None, failure=failure)
    outcome = outcome_of_trace(task.name, planned, end, settings, cancellation.reason)
    for pid, lines in trace.skipped.items():
        if lines:
            message = f"the memcached with pid {pid} left out {lines:,} lines that it could not write in time"
            outcome.warnings.append(Warn("watch-skipped", message, task.name))
    return outcome
