"""Sweep a fleet: start the hosts wave by wave, deliver the events, and merge what arrives into one result.

A host's summaries are merged into the fleet's when they arrive and are then freed, so memory does not grow with the
hosts' data. All merging, and every call of the subscriber, happens in the thread that calls `Sweep.run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import ProbeKind, TraceSettings
from fleettrace.summary.run import RunInfo, RunResult, Warn
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Cancellation, Reason
from fleettrace.sweep.event_queue import EventQueue
from fleettrace.sweep.events import (
    Event,
    HostFinished,
    HostsSkipped,
    InstanceFinished,
    RunFinished,
    RunStarted,
    StopRequested,
    Subscriber,
    WaveFinished,
    WaveStarted,
    ignore,
)
from fleettrace.sweep.outcome import HostOutcome, failed_outcome
from fleettrace.sweep.settings import FLEET_KEYS, HostTask, SweepSettings, keys_per_host, printed_entries
from fleettrace.sweep.tracer import HostTracer, TracerContext
from fleettrace.sweep.waves import abort_reason, in_waves
from fleettrace.sweep.workers import Workers

__all__ = ["GRACE_S", "Sweep"]

_POLL_S = 0.2
_IDLE_POLLS = 5
"""Polls, a second in all, without an open login and without an event: a cancelled sweep then waits for nothing but
logins, which cannot be cut short and have nothing to report."""
GRACE_S = 12.0
"""Seconds that cancelled traces have to print what they have, before their connections are closed: timeout(1) on the
node kills bpftrace 10 s after it was interrupted."""


@dataclass(slots=True)
class Sweep:
    """One run over many hosts. Call `run` once; `cancel` ends it early, from any thread or a signal handler."""

    tasks: Sequence[HostTask]
    settings: SweepSettings
    info: RunInfo
    catalog: BinaryCatalog
    subscriber: Subscriber = ignore
    clock: Callable[[], float] = time.monotonic
    cancellation: Cancellation = field(default_factory=Cancellation)
    slices: bool = True
    """Whether to emit `SliceArrived`."""
    _events: EventQueue = field(default_factory=EventQueue)
    _awaited: set[str] = field(default_factory=set)
    """The hosts of the wave that are not done."""
    _failed: int = 0
    """Hosts that are done and not complete."""
    _started_at: float = 0.0
    _cancelled_at: float | None = None
    """When the engine noticed the cancellation."""
    _idle: int = 0
    """Polls without an event since then."""

    def run(self) -> RunResult:
        """Sweep all hosts. Raises nothing because of a host: every host is in the result, with its state."""
        result = RunResult(self.info)
        self._started_at = self.clock()
        self.subscriber(RunStarted(self.info.id, len(self.tasks), self.settings.duration_s))
        tracer = self._tracer()
        workers = Workers(tracer, self.settings, self.cancellation, self._events)
        self._sweep_waves(workers, result)
        workers.close()
        self._events.close()
        self._complete(result, tracer)
        self.subscriber(RunFinished(result))
        return result

    def cancel(self, reason: Reason) -> None:
        """End the sweep early and report what it has. Called again, give up on hosts that are still answering.

        Safe in a signal handler: it takes no lock.
        """
        self._events.put(reason)

    def _tracer(self) -> HostTracer:
        """Return the tracer that the settings ask for."""
        settings, hosts = self.settings, len(self.tasks)
        bounds = TraceSettings(
            settings.duration_s, printed=printed_entries(hosts), keys=keys_per_host(hosts, settings.forks)
        )
        context = TracerContext(
            settings,
            bounds,
            self.catalog,
            self.cancellation,
            self._events.put,
            slices=self.slices,
            run_id=self.info.id,
        )
        watch = settings.options.probe_kind is ProbeKind.WATCH
        at_once: HostTracer = AttachedTracer(context)
        if watch:
            from fleettrace.sweep.watch import WatchTracer

            at_once = WatchTracer(context)
        detach = settings.detach
        # Only bpftrace can be left on a host. A resumed run still collects what an earlier one has left.
        if detach is None or (watch and detach.resumed is None):
            return self._with_endpoints(context, at_once)
        from fleettrace.sweep.detached import DetachedTracer, lead_s

        return self._with_endpoints(context, DetachedTracer(context, detach, time.monotonic() + lead_s(hosts), at_once))

    def _with_endpoints(self, context: TracerContext, others: HostTracer) -> HostTracer:
        """Return a tracer that also asks hosts without a login, if there are any."""
        if all(task.endpoint is None for task in self.tasks):
            return others
        from fleettrace.sweep.endpoint import EndpointTracer

        return EndpointTracer(context, others)

    def _sweep_waves(self, workers: Workers, result: RunResult) -> None:
        waves, started = in_waves(self.tasks, self.settings.serial), 0
        for number, wave in enumerate(waves, 1):
            self.subscriber(WaveStarted(number, len(waves), len(wave)))
            started += len(wave)
            failed_before = self._failed
            self._awaited = {task.name for task in wave}
            workers.add(wave)
            why: str | None = None
            while self._awaited:
                self._poll(workers, result)
                if why is None and self.cancellation.reason is None:
                    why = abort_reason(self._failed, started, number, len(waves), self.settings.max_fail)
                    if why is not None:
                        self._skip(result, number, [workers.withdraw(), *waves[number:]], why)
            self.subscriber(WaveFinished(number, len(waves), self._failed - failed_before))
            if why is not None:
                return
            if self.cancellation.reason is not None:
                later = [task.name for one in waves[number:] for task in one]
                self._fail_hosts(result, later, self.cancellation.error())
                return

    def _poll(self, workers: Workers, result: RunResult) -> None:
        """Wait a moment for something to arrive, and check whether the sweep is to end."""
        arrived = self._events.get(_POLL_S)
        self._handle(result, arrived)
        now = self.clock()
        if self.settings.deadline_s is not None and now - self._started_at > self.settings.deadline_s:
            self.cancellation.request(Reason.DEADLINE)
        if self.cancellation.reason is None:
            return
        if self._cancelled_at is None:
            self._cancelled_at = now
            workers.hurry()
            self.subscriber(StopRequested(self.cancellation.reason))
        self._idle = 0 if arrived is not None or self.cancellation.busy else self._idle + 1
        waited_s = now - self._cancelled_at
        if self._idle > _IDLE_POLLS or waited_s > 2 * GRACE_S:
            # A host in the middle of its login has nothing to report, nor has one that does not even react to the
            # closing of its connection.
            self._fail_hosts(result, list(self._awaited), self.cancellation.error())
        elif waited_s > GRACE_S:
            self.cancellation.give_up()

    def _handle(self, result: RunResult, arrived: Event | HostOutcome | Reason | None) -> None:
        if isinstance(arrived, HostOutcome):
            self._merge(result, arrived)
        elif isinstance(arrived, Reason):
            if self.cancellation.reason is not None:
                self.cancellation.give_up()
            self.cancellation.request(arrived)
        elif arrived is not None:
            self.subscriber(arrived)

    def _merge(self, result: RunResult, outcome: HostOutcome) -> None:
        """Merge the outcome of a host, unless the host was given up."""
        host = outcome.result
        if host.host not in self._awaited:
            return
        self._failed += not host.complete
        result.warnings.extend(outcome.warnings)
        result.fleet.add_host(self.info.id, host.host, outcome.summaries)
        result.fleet.bound(FLEET_KEYS)
        self._finish_host(result, outcome)

    def _finish_host(self, result: RunResult, outcome: HostOutcome) -> None:
        host = outcome.result
        self._awaited.discard(host.host)
        result.hosts.append(host)
        for instance in host.instances:
            self.subscriber(InstanceFinished(host.host, instance))
        self.subscriber(
            HostFinished(host.host, host.state, host, outcome.summaries, outcome.warnings, outcome.traceback)
        )

    def _skip(self, result: RunResult, number: int, waves: Sequence[Sequence[HostTask]], why: str) -> None:
        """Skip all hosts of `waves`, none of which has been tried."""
        names = [task.name for wave in waves for task in wave]
        if names:
            self.subscriber(HostsSkipped(number, len(names), why))
        self._fail_hosts(result, names, HostError(HostState.SKIPPED, "max-fail", f"not started: {why}"))

    def _fail_hosts(self, result: RunResult, names: Iterable[str], error: HostError) -> None:
        """Report hosts that give nothing."""
        for name in names:
            self._finish_host(result, failed_outcome(name, error))

    def _complete(self, result: RunResult, tracer: HostTracer) -> None:
        """Put the hosts in order and add what is known only at the end of the run."""
        order = {task.name: position for position, task in enumerate(self.tasks)}
        result.hosts.sort(key=lambda host: order[host.host])
        self.info.finished = datetime.now(UTC)
        if result.fleet.truncated:
            message = f"more than {FLEET_KEYS:,} keys: the least requested are not listed, and the bounds include them"
            result.warnings.append(Warn("keys-truncated", message))
        end = tracer.finish()
        result.warnings.extend(end.warnings)
        for event in end.events:
            self.subscriber(event)
