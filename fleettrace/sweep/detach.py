"""One window for the whole fleet: each host's trace is left there for an agreed moment, and collected when it is over.

Nobody is logged in to a host meanwhile. The moment is one of the controller's clock; what it is by a host's own is
known from asking each for its clocks, so clocks that are set wrong change nothing but what is said of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fleettrace.errors import HostError, HostState
from fleettrace.node.binding import RefusedError
from fleettrace.node.detach import GONE_STATUS, NodeClock, collect, leave, read_clock, remove
from fleettrace.node.planning import Planned
from fleettrace.node.plausible import ENDING_S, STARTUP_S
from fleettrace.node.request_rates import endpoint_lines
from fleettrace.node.tracing import HostTrace
from fleettrace.summary.run import HostResult, Warn
from fleettrace.sweep.detach_model import Detach, DetachedTrace
from fleettrace.sweep.events import HostProgressed, InstanceStarted, Phase, WindowsBegan
from fleettrace.sweep.exclusion import without
from fleettrace.sweep.host import HostSweep, failed_outcome
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.program_selection import Traced, check_loads
from fleettrace.sweep.retry import curable
from fleettrace.sweep.settings import HostTask
from fleettrace.transport.interface import Connection

__all__ = ["AFTER_S", "ATTACH_S", "DetachedSweep", "lead_s", "skew_warnings"]

ATTACH_S = 10.0
"""Seconds that bpftrace is started before the window: it takes 0.6 to 8 to attach its probes, on a busy node."""
_LOGIN_S = 10.0
_LOAD_S = 5.0
"""Seconds to have the kernel load the program once: it takes 1 to 2, on a busy node 8."""
_EACH_S = 0.1
"""Seconds of the first phase: for one host, and for each more; 60 ms of CPU on the controller, and its turn."""
AFTER_S = 1.5
"""Seconds after the window when the first output is ready."""
_TELL_S = 1.0
"""Seconds apart from which on it is worth a warning."""


def lead_s(hosts: int) -> float:
    """Seconds from the beginning of a run to the agreed moment."""
    return ATTACH_S + _LOGIN_S + _LOAD_S + _EACH_S * hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachedSweep(HostSweep):
    """Leaves a trace on each host at its first turn and collects it at its second one."""

    detach: Detach
    begins_at: float
    """The agreed moment, on the controller's monotonic clock."""
    _left: dict[str, DetachedTrace] = field(default_factory=dict)
    _began: dict[str, tuple[float, DetachedTrace]] = field(default_factory=dict)
    """When the window really began on each host."""

    def run(self, task: HostTask) -> HostOutcome:
        """One turn of one host."""
        left = self._left.get(task.name) or (self.detach.known or {}).get(task.name)
        if left is not None:
            return self._collect(task, left)
        # Not super(): dataclasses with slots are other classes than the one that it means.
        return HostSweep.run(self, task)

    def _planned_trace(self, traced: Traced, planned: Sequence[Planned]) -> HostOutcome:
        """Leave the trace."""
        if self.detach.known is not None:
            return HostSweep._planned_trace(self, traced, planned)
        name = traced.task.name
        self.stop.check()
        # Once it is left there, a refusal would be seen only when the window is over.
        check_loads(traced, self.bounds)
        self.stop.check()
        busy = self._busyness(traced)
        bounds, warnings = self._bounds(traced, busy)
        clock = read_clock(traced.connection)
        trace = HostTrace(
            traced.task.bpftrace,
            traced.plans,
            traced.layout,
            bounds,
            endpoints=endpoint_lines(traced.found.facts, [instance for instance, _ in traced.plans], busy.endpoints),
            samples=busy.samples,
            begin_ns=clock.monotonic_at(self.begins_at),
            lead_s=ATTACH_S,
            run=self.run_id,
        )
        self.stop.check()
        folder = leave(traced.connection, trace.script(), clock.uptime_at(self.begins_at - ATTACH_S), self.detach.ttl_s)
        # On a host that it comes too late for, the window begins as soon as it can.
        late = time.monotonic() > self.begins_at - ATTACH_S / 2
        over = (time.monotonic() + ATTACH_S if late else self.begins_at) + bounds.duration_s + AFTER_S
        pause = max(0.0, over - time.monotonic())
        left = DetachedTrace(
            host=name,
            folder=folder,
            nonce=trace.nonce,
            planned=tuple(planned),
            layout=traced.layout,
            bounds=bounds,
            looks=tuple(busy.samples),
            warnings=(*warnings, *skew_warnings(name, clock)),
            clock=clock,
            ends=time.time() + pause,
        )
        self._left[name] = left
        self.detach.left(left)
        self.tell(HostProgressed(name, Phase.LEAVE))
        return HostOutcome(HostResult(name, HostState.OK), later_s=pause)

    def _collect(self, task: HostTask, left: DetachedTrace) -> HostOutcome:
        self.tell(HostProgressed(task.name, Phase.COLLECT))
        try:
            connection = task.transport.connect(task.target)
        except HostError as error:
            cure = ", and --resume collects it" if self.detach.resumable else " and removes itself"
            words = f"{error.message}; the trace that was left there ends by itself{cure}"
            told = failed_outcome(task, HostError(error.state, error.code, words))
            return replace(told, curable=self.stop.reason is None and curable(error))
        try:
            with self.stop.watch(connection, late=True):
                return self._collected(task, left, connection)
        except HostError as error:
            return failed_outcome(task, error if self.stop.reason is None else self.stop.error())

    def _collected(self, task: HostTask, left: DetachedTrace, connection: Connection) -> HostOutcome:
        plans = [(each.instance, each.plan) for each in left.planned if each.plan is not None]
        names = {instance.pid: instance.id for instance, _ in plans}

        def started() -> None:
            for pid in names:
                self.tell(InstanceStarted(task.name, pid))

        trace = HostTrace(
            task.bpftrace,
            plans,
            left.layout,
            left.bounds,
            bucket_s=self.settings.bucket_s,
            samples=left.looks,
            nonce=left.nonce,
            on_start=started,
            on_slice=self._slice_teller(task.name, names),
        )
        execution = collect(connection, left.folder, max(0.0, left.ends - time.time()) + STARTUP_S + ENDING_S)
        self.stop.tracing(connection, execution)
        try:
            end = trace.read(execution)
        except RefusedError as error:
            self._remove(task, left, connection)
            return outcome_of_plan(task.name, without(left.planned, error.failures))
        except HostError:
            if execution.exit_status == GONE_STATUS:
                self.detach.collected(task.name)
                raise _gone() from None
            if execution.exit_status is not None:
                self._remove(task, left, connection)
            raise
        if execution.exit_status is not None:
            self._remove(task, left, connection)
        self.began(left, end.start_ns)
        outcome = outcome_of_trace(task.name, left.planned, end, self.settings, self.stop.reason)
        outcome.warnings.extend(left.warnings)
        return outcome

    def _remove(self, task: HostTask, left: DetachedTrace, connection: Connection) -> None:
        """All of it has arrived."""
        self.detach.collected(task.name)
        try:
            remove(connection, left.folder)
        except HostError:
            # It removes itself later.
            return

    def began(self, left: DetachedTrace, start_ns: int) -> None:
        """A trace's window began at this time of its host's monotonic clock."""
        self._began[left.host] = left.clock.controllers(start_ns), left

    def windows(self) -> tuple[WindowsBegan | None, list[Warn]]:
        """When the windows began, and what is to be said of that; for when all hosts are done."""
        if not self._began:
            return None, []
        moments = sorted(moment for moment, _ in self._began.values())
        clocks = [left.clock for _, left in self._began.values()]
        spread = moments[-1] - moments[0]
        within = 2 * max(clock.within_s for clock in clocks)
        skew = max(abs(clock.skew_s or 0.0) for clock in clocks)
        warnings = []
        if spread > _TELL_S:
            message = f"the windows of {len(moments)} hosts did not begin together but within {spread:.1f} s"
            warnings.append(Warn("windows-apart", message))
        return WindowsBegan(len(moments), spread, within, skew), warnings


def skew_warnings(host: str, clock: NodeClock) -> list[Warn]:
    """What is to be said of a host's clock: something, if it is surely a second off."""
    skew_s = clock.skew_s
    if skew_s is None or abs(skew_s) - clock.within_s <= _TELL_S:
        return []
    where = "ahead of" if skew_s > 0 else "behind"
    return [Warn("clock-skew", f"its clock is {abs(skew_s):.1f} s {where} the controller's", host)]


def _gone() -> HostError:
    return HostError(
        HostState.TRACE_FAILED,
        "left-trace-gone",
        "nothing is left of its trace: it was removed after --detach-ttl, collected before, or the host was restarted",
    )
