"""One host of a sweep, from the login to its summaries. Nothing escapes: whatever goes wrong is in the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.discovery import look_around
from fleettrace.node.model import Bpftrace
from fleettrace.node.planning import Planned, check_able, plan_instances
from fleettrace.node.tracing import HostTrace, TraceEnd
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import Rung, TraceSettings
from fleettrace.summary.run import Failure, HostResult
from fleettrace.sweep.events import Event, HostProgressed, HostStarted, Phase, SliceArrived
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.stop import Stop
from fleettrace.transport.interface import Connection

__all__ = ["HostSweep"]


@dataclass(frozen=True, slots=True)
class HostSweep:
    """How hosts are swept: the same for all of a run. One object serves many threads."""

    settings: SweepSettings
    bounds: TraceSettings
    catalog: BinaryCatalog
    stop: Stop
    tell: Callable[[Event], None]

    def run(self, task: HostTask) -> HostOutcome:
        """Sweep one host."""
        try:
            self.stop.check()
            self.tell(HostStarted(task.name))
            self.tell(HostProgressed(task.name, Phase.CONNECT))
            connection = task.transport.connect(task.target)
            with self.stop.watch(connection):
                return self._sweep(task, connection)
        except HostError as error:
            # A connection that the stop closed fails in some way of its own: what counts is why it was closed.
            told = error if self.stop.reason is None else self.stop.error()
            return HostOutcome(HostResult(task.name, told.state, Failure(told.code, told.message)))

    def _sweep(self, task: HostTask, connection: Connection) -> HostOutcome:
        self.tell(HostProgressed(task.name, Phase.DISCOVER))
        found = look_around(connection, task.bpftrace, task.scope)
        instances = [instance for instance in found.instances if task.wanted(instance)]
        if not instances:
            return HostOutcome(HostResult(task.name, HostState.NO_INSTANCES))
        check_able(found)
        self.tell(HostProgressed(task.name, Phase.PLAN))
        planned = plan_instances(connection, self.catalog, found.facts, instances, self.settings.probe)
        if not self.settings.trace or not any(each.plan for each in planned):
            return outcome_of_plan(task.name, planned)
        self.stop.check()
        self.tell(HostProgressed(task.name, Phase.ATTACH))
        assert found.facts.bpftrace is not None  # check_able
        end = self._trace(task, connection, found.facts.bpftrace, planned)
        return outcome_of_trace(task.name, planned, end, self.settings, self.stop.reason)

    def _trace(self, task: HostTask, connection: Connection, bpftrace: Bpftrace, planned: list[Planned]) -> TraceEnd:
        plans = [(each.instance, each.plan) for each in planned if each.plan is not None]
        names = {instance.pid: instance.id for instance, _ in plans}
        one_string = any(plan.rung is Rung.COMMAND for _, plan in plans)
        trace = HostTrace(
            task.bpftrace,
            plans,
            key_layout((bpftrace.major, bpftrace.minor, bpftrace.patch), one_string=one_string),
            self.bounds,
            bucket_s=self.settings.bucket_s,
            on_start=lambda: self.tell(HostProgressed(task.name, Phase.TRACE)),
            on_slice=lambda parts: self.tell(
                SliceArrived(task.name, {names[pid]: summary for pid, summary in parts.items()})
            ),
        )
        execution = connection.start(trace.script(), trace.limits)
        self.stop.tracing(connection, execution)
        return trace.read(execution)
