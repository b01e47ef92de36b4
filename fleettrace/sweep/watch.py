"""Count requests with memcached's own `watch` command, on hosts where bpftrace or root cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleettrace.errors import HostState
from fleettrace.node.model import Discovery, Instance
from fleettrace.node.planning import Planned
from fleettrace.node.watching import WatchTrace, plan_watch, reachable_without_root
from fleettrace.summary.run import Failure, HostResult, Warn
from fleettrace.sweep.events import HostProgressed, InstanceStarted, Phase
from fleettrace.sweep.host import run_on_host
from fleettrace.sweep.items import add_items
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.settings import HostTask
from fleettrace.sweep.tracer import EndOfRun, TracerContext
from fleettrace.transport.interface import Connection

__all__ = ["WatchTracer"]


@dataclass(frozen=True, slots=True)
class WatchTracer:
    """Implements `HostTracer`."""

    context: TracerContext

    def run(self, task: HostTask) -> HostOutcome:
        """Watch the instances of one host."""
        return run_on_host(self.context, task, self._plan, bpftrace=False)

    def finish(self) -> EndOfRun:
        """Return nothing: each host's window is its own."""
        return EndOfRun()

    def _plan(self, task: HostTask, connection: Connection, discovery: Discovery) -> HostOutcome:
        instances = [instance for instance in discovery.instances if task.selects(instance)]
        if not instances and discovery.facts.uid != 0:
            instances = reachable_without_root(connection, discovery.facts, task.selects)
        if not instances:
            return HostOutcome(HostResult(task.name, HostState.NO_INSTANCES))
        self.context.emit(HostProgressed(task.name, Phase.PLAN))
        planned = plan_watch(instances)
        watched = [each.instance for each in planned if each.plan is not None]
        if not self.context.settings.trace or not watched:
            return outcome_of_plan(task.name, planned)
        return self._watch(task, connection, discovery, planned, watched)

    def _watch(
        self,
        task: HostTask,
        connection: Connection,
        discovery: Discovery,
        planned: Sequence[Planned],
        watched: Sequence[Instance],
    ) -> HostOutcome:
        context = self.context
        context.cancellation.check()
        context.emit(HostProgressed(task.name, Phase.ATTACH))

        def on_start() -> None:
            context.emit(HostProgressed(task.name, Phase.TRACE))
            for instance in watched:
                context.emit(InstanceStarted(task.name, instance.pid))

        trace = WatchTrace(discovery.facts, watched, context.bounds, on_start)
        execution = connection.start(trace.script(), trace.limits)
        context.cancellation.tracing(connection, execution)
        end = trace.read(execution)
        planned = [_with_refusal(each, trace.refused.get(each.instance.pid)) for each in planned]
        outcome = outcome_of_trace(task.name, planned, end, context.settings, context.cancellation.reason)
        for pid, lines in trace.skipped.items():
            if lines:
                message = f"memcached (pid {pid}) skipped {lines:,} lines that it could not write in time"
                outcome.warnings.append(Warn("watch-skipped", message, task.name))
        return add_items(context, connection, outcome, end, planned, netns=discovery.facts.netns)


def _with_refusal(planned: Planned, reason: str | None) -> Planned:
    """Return the instance with a failure in the place of its plan, where memcached refused to be watched."""
    if not reason:
        return planned
    failure = Failure("watch-refused", f"memcached (pid {planned.instance.pid}) cannot be watched: {reason}")
    return replace(planned, plan=None, failure=failure)
