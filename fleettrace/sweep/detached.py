"""Trace all hosts in one window: leave each host's trace there for an agreed moment, and collect its output later.

No login is open meanwhile. The moment is on the controller's clock; each host is asked for its own clocks, so a clock
that is set wrong causes a warning and shifts no window.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fleettrace.errors import HostError, HostState
from fleettrace.node.binding import RefusedError
from fleettrace.node.detach import GONE_STATUS, NodeClock, collect, leave, read_clock, remove
from fleettrace.node.model import Discovery
from fleettrace.node.planning import Planned
from fleettrace.node.plausible import ENDING_S, STARTUP_S
from fleettrace.node.request_rates import endpoint_lines
from fleettrace.node.tracing import HostTrace
from fleettrace.summary.run import Warn
from fleettrace.sweep.detach_model import Detach, DetachedTrace
from fleettrace.sweep.events import HostProgressed, InstanceStarted, Phase, WindowsStarted
from fleettrace.sweep.exclusion import without
from fleettrace.sweep.host import add_failure, add_warnings, login, run_on_host
from fleettrace.sweep.items import add_items
from fleettrace.sweep.outcome import HostOutcome, failed_outcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.probing import probe_host
from fleettrace.sweep.program_selection import TracePlan, check_loads
from fleettrace.sweep.retry import retryable
from fleettrace.sweep.settings import HostTask
from fleettrace.sweep.trace_bounds import choose_bounds, measure_rates, slice_callback
from fleettrace.sweep.tracer import EndOfRun, HostTracer, TracerContext
from fleettrace.transport.interface import Connection, Execution

__all__ = ["AFTER_S", "DetachedTracer", "lead_s", "skew_warnings"]

_ATTACH_S = 10.0
"""Seconds by which bpftrace starts before the window: it takes 0.6 to 8, on a busy node, to attach its probes."""
_LOGIN_S = 10.0
_LOAD_S = 5.0
"""Seconds to have the kernel load the program once: it takes 1 to 2, on a busy node 8."""
_EACH_S = 0.1
"""Seconds that each host adds to the time before the window: 60 ms of CPU on the controller, and waiting for it."""
AFTER_S = 1.5
"""Seconds after the window until the first output is ready."""
_WARN_S = 1.0
"""Differences between clocks, or between the starts of windows, of more than so many seconds are worth a warning."""


def lead_s(hosts: int) -> float:
    """Return the seconds from the start of a run to the agreed moment."""
    return _ATTACH_S + _LOGIN_S + _LOAD_S + _EACH_S * hosts


@dataclass(frozen=True, slots=True)
class DetachedTracer:
    """Implements `HostTracer`: leaves a trace on each host at the first attempt and collects it at the second one.

    In a run that resumes another, collects what that one left, and gives all other hosts to `at_once`.
    """

    context: TracerContext
    detach: Detach
    starts_at: float
    """The agreed moment, on the controller's monotonic clock."""
    at_once: HostTracer
    _pending: dict[str, DetachedTrace] = field(default_factory=dict)
    """The traces that this run has left, by host."""
    _started: dict[str, tuple[float, DetachedTrace]] = field(default_factory=dict)
    """When each host's window really started, on the controller's monotonic clock."""

    def run(self, task: HostTask) -> HostOutcome:
        """Leave the host's trace there, or collect it."""
        pending = self._pending.get(task.name) or (self.detach.resumed or {}).get(task.name)
        if pending is not None:
            outcome = self._collect(task, pending)
            add_warnings(outcome, pending.warnings)
            add_failure(outcome.result, pending.failure)
            return outcome
        if self.detach.resumed is not None:
            return self.at_once.run(task)
        outcome = run_on_host(self.context, task, self._probe, bpftrace=True)
        if (left := self._pending.get(task.name)) is not None:
            if outcome.again_in_s is not None:
                left = self._pending[task.name] = _with_findings(left, outcome)
            self.detach.on_left(left)
            self.context.emit(HostProgressed(task.name, Phase.LEAVE))
        return outcome

    def finish(self) -> EndOfRun:
        """Return how far apart the windows of the hosts started."""
        if not self._started:
            return EndOfRun()
        moments = sorted(moment for moment, _ in self._started.values())
        clocks = [trace.clock for _, trace in self._started.values()]
        spread = moments[-1] - moments[0]
        accuracy = 2 * max(clock.within_s for clock in clocks)
        skew = max(abs(clock.skew_s or 0.0) for clock in clocks)
        warnings = []
        if spread > _WARN_S:
            message = f"the windows of {len(moments)} hosts did not start together but within {spread:.1f} s"
            warnings.append(Warn("windows-apart", message))
        return EndOfRun([WindowsStarted(len(moments), spread, accuracy, skew)], warnings)

    def window_started(self, trace: DetachedTrace, start_ns: int) -> None:
        """Note that a trace's window started at this time of its host's monotonic clock."""
        self._started[trace.host] = trace.clock.controllers(start_ns), trace

    def _probe(self, task: HostTask, connection: Connection, discovery: Discovery) -> HostOutcome:
        return probe_host(self.context, task, connection, discovery, self._leave)

    def _leave(self, trace_plan: TracePlan, planned: Sequence[Planned]) -> HostOutcome:
        """Leave the trace on the host, and ask for another attempt when its window is over."""
        context, host = self.context, trace_plan.task.name
        context.cancellation.check()
        # Once the trace is on the host, a refusal by the kernel would show only after the window.
        check_loads(trace_plan, context.bounds)
        context.cancellation.check()
        rates = measure_rates(context, trace_plan)
        bounds, warnings = choose_bounds(context, trace_plan, rates)
        clock = read_clock(trace_plan.connection)
        trace = HostTrace(
            trace_plan.task.bpftrace,
            trace_plan.plans,
            trace_plan.layout,
            bounds,
            endpoints=endpoint_lines(trace_plan.discovery.facts, [one for one, _ in trace_plan.plans], rates.endpoints),
            samples=rates.samples,
            begin_ns=clock.monotonic_at(self.starts_at),
            lead_s=_ATTACH_S,
            run=context.run_id,
        )
        context.cancellation.check()
        attach_at = clock.uptime_at(self.starts_at - _ATTACH_S)
        directory = leave(trace_plan.connection, trace.script(), attach_at, self.detach.ttl_s)
        pause_s = self._pause_s(bounds.duration_s)
        pending = DetachedTrace(
            host=host,
            directory=directory,
            nonce=trace.nonce,
            planned=tuple(planned),
            layout=trace_plan.layout,
            bounds=bounds,
            samples=tuple(rates.samples),
            warnings=(),
            failure=None,
            clock=clock,
            ends=time.time() + pause_s,
        )
        self._pending[host] = pending
        outcome = replace(outcome_of_plan(host, planned), again_in_s=pause_s)
        outcome.warnings.extend((*warnings, *skew_warnings(host, clock)))
        return outcome

    def _pause_s(self, duration_s: float) -> float:
        """Return the seconds from now until the output of a trace is ready."""
        now = time.monotonic()
        # On a host that the trace reaches too late, the window starts as soon as it can.
        late = now > self.starts_at - _ATTACH_S / 2
        return max(0.0, (now + _ATTACH_S if late else self.starts_at) + duration_s + AFTER_S - now)

    def _collect(self, task: HostTask, pending: DetachedTrace) -> HostOutcome:
        cancellation = self.context.cancellation
        self.context.emit(HostProgressed(task.name, Phase.COLLECT))
        try:
            connection = login(task)
        except HostError as error:
            fate = "; --resume collects it" if self.detach.resumable else " and removes itself"
            message = f"{error.message}; the trace that was left on the host ends by itself{fate}"
            failed = failed_outcome(task.name, HostError(error.state, error.code, message))
            return replace(failed, retryable=cancellation.reason is None and retryable(error))
        try:
            with cancellation.watch(connection, late=True):
                return self._collect_on(task, pending, connection)
        except HostError as error:
            return failed_outcome(task.name, error if cancellation.reason is None else cancellation.error())

    def _collect_on(self, task: HostTask, pending: DetachedTrace, connection: Connection) -> HostOutcome:
        context = self.context
        trace = self._reader(task, pending)
        patience_s = max(0.0, pending.ends - time.time()) + STARTUP_S + ENDING_S
        execution = collect(connection, pending.directory, patience_s)
        context.cancellation.tracing(connection, execution)
        try:
            end = trace.read(execution)
        except RefusedError as error:
            self._remove(task, pending, connection)
            return outcome_of_plan(task.name, without(pending.planned, error.failures))
        except HostError:
            self._remove_after_failure(task, pending, connection, execution)
            raise
        if execution.exit_status is not None:
            self._remove(task, pending, connection)
        self.window_started(pending, end.start_ns)
        outcome = outcome_of_trace(task.name, pending.planned, end, context.settings, context.cancellation.reason)
        return add_items(context, connection, outcome, end, pending.planned, netns="")

    def _reader(self, task: HostTask, pending: DetachedTrace) -> HostTrace:
        """Return a trace that reads the output of the one that was left."""
        plans = [(each.instance, each.plan) for each in pending.planned if each.plan is not None]
        instance_ids = {instance.pid: instance.id for instance, _ in plans}

        def on_start() -> None:
            for pid in instance_ids:
                self.context.emit(InstanceStarted(task.name, pid))

        return HostTrace(
            task.bpftrace,
            plans,
            pending.layout,
            pending.bounds,
            bucket_s=self.context.settings.bucket_s,
            samples=pending.samples,
            nonce=pending.nonce,
            on_start=on_start,
            on_slice=slice_callback(self.context, task.name, instance_ids),
        )

    def _remove_after_failure(
        self, task: HostTask, pending: DetachedTrace, connection: Connection, execution: Execution
    ) -> None:
        """Remove a trace that ran and failed. Raises `HostError` where nothing is left of it."""
        if execution.exit_status == GONE_STATUS:
            self.detach.on_collected(task.name)
            raise HostError(
                HostState.TRACE_FAILED,
                "left-trace-gone",
                "no trace is left on the host: it was collected before, removed after --detach-ttl, or lost when the "
                "host restarted",
            ) from None
        if execution.exit_status is not None:
            self._remove(task, pending, connection)

    def _remove(self, task: HostTask, pending: DetachedTrace, connection: Connection) -> None:
        """Remove a trace from its host, when all of its output has arrived."""
        self.detach.on_collected(task.name)
        try:
            remove(connection, pending.directory)
        except HostError:
            # It removes itself later.
            return


def _with_findings(left: DetachedTrace, outcome: HostOutcome) -> DetachedTrace:
    """Return the trace with what the attempt that left it found out about the host and its program."""
    why = {instance.pid: instance.probe.why for instance in outcome.result.instances}
    planned = (_with_why(each, why.get(each.instance.pid)) for each in left.planned)
    return replace(left, planned=tuple(planned), warnings=tuple(outcome.warnings), failure=outcome.result.error)


def _with_why(planned: Planned, why: str | None) -> Planned:
    if planned.plan is None or why is None:
        return planned
    return replace(planned, plan=replace(planned.plan, verdict=replace(planned.plan.verdict, why=why)))


def skew_warnings(host: str, clock: NodeClock) -> list[Warn]:
    """Return a warning where a host's clock is surely wrong by more than a second."""
    skew_s = clock.skew_s
    if skew_s is None or abs(skew_s) - clock.within_s <= _WARN_S:
        return []
    where = "ahead of" if skew_s > 0 else "behind"
    return [Warn("clock-skew", f"its clock is {abs(skew_s):.1f} s {where} the controller's", host)]
