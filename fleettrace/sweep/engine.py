"""The sweep: wave by wave a few threads take hosts in turn, and one tells what happens and merges what comes.

A host's summaries go into the fleet's as they arrive and are let go, so memory does not grow with the hosts' data.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.run import Failure, HostResult, RunInfo, RunResult, Warn
from fleettrace.sweep.cancellation import Cancellation, Reason
from fleettrace.sweep.detach import DetachedSweep, lead_s
from fleettrace.sweep.event_queue import EventQueue
from fleettrace.sweep.events import (
    Event,
    HostFinished,
    HostRetried,
    HostsSkipped,
    HostStarted,
    InstanceFinished,
    RunFinished,
    RunStarted,
    StopRequested,
    Subscriber,
    WaveFinished,
    WaveStarted,
    ignore,
)
from fleettrace.sweep.host import HostSweep
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.retry import pause_s
from fleettrace.sweep.settings import FLEET_KEYS, HostTask, SweepSettings, kept_keys, printed_entries
from fleettrace.sweep.waves import abort_reason, in_waves
from fleettrace.sweep.work_queue import Attempt, WorkQueue
from fleettrace.transport.shortage import shortage

__all__ = ["GRACE_S", "Sweep"]

POLL_S = 0.2
IDLE_POLLS = 5
"""A second in which no host is logged in to and nothing arrives: whatever a stopped sweep still waits for is a login,
which cannot be cut short and has nothing to report."""

_STARTED_AT_ONCE = 32
"""Threads that the listener starts itself. Hundreds that log in leave it so little time that it took 40 s to start the
last of 300, with nothing heard until then: another thread starts the rest."""

GRACE_S = 12.0
"""Seconds that stopped traces have to print what they have, before their connections are closed: timeout(1) on the node
kills bpftrace 10 s after it was interrupted."""


_TRACEBACK_CHARS = 20_000
"""The end of a longer one is kept, which names the exception."""


@dataclass(slots=True)
class Sweep:
    """One run over many hosts. `run` does it, once; `cancel` ends it early, from anywhere."""

    tasks: Sequence[HostTask]
    settings: SweepSettings
    info: RunInfo
    catalog: BinaryCatalog
    subscriber: Subscriber = ignore
    clock: Callable[[], float] = time.monotonic
    cancellation: Cancellation = field(default_factory=Cancellation)
    slices: bool = True
    """Whether the listener wants to hear of slices."""
    _arrived: EventQueue = field(default_factory=EventQueue)
    _turns: WorkQueue = field(default_factory=WorkQueue)
    _threads: int = 0
    _awaited: set[str] = field(default_factory=set)
    """The hosts of the wave that are not done."""
    _failed: int = 0
    """Hosts that were begun and are not sound."""
    _began: float = 0.0
    _stopped: float | None = None
    """When the stop was told of."""
    _idle: int = 0
    """Polls without an event since then."""

    def run(self) -> RunResult:
        """Sweep all hosts. Raises nothing that a host did: every host is in the result, with its state."""
        result = RunResult(self.info)
        self._began = self.clock()
        self.subscriber(RunStarted(self.info.id, len(self.tasks), self.settings.duration_s))
        host_sweep = self._host_sweep()
        self._sweep_waves(host_sweep, result, in_waves(self.tasks, self.settings.serial))
        self._turns.close()
        self._arrived.close()
        order = {task.name: position for position, task in enumerate(self.tasks)}
        result.hosts.sort(key=lambda host: order[host.host])
        self.info.finished = datetime.now(UTC)
        if result.fleet.truncated:
            message = (
                f"more than {FLEET_KEYS:,} keys: the least requested are not listed; the bounds have room for them"
            )
            result.warnings.append(Warn("keys-truncated", message))
        if isinstance(host_sweep, DetachedSweep):
            began, warnings = host_sweep.windows()
            result.warnings.extend(warnings)
            if began is not None:
                self.subscriber(began)
        self.subscriber(RunFinished(result))
        return result

    def cancel(self, reason: Reason) -> None:
        """End the sweep early and report what it has; ordered again, give up on hosts that are still answering.

        Safe in a signal handler: it takes no lock.
        """
        self._arrived.put(reason)

    def _sweep_waves(self, host_sweep: HostSweep, result: RunResult, waves: Sequence[Sequence[HostTask]]) -> None:
        begun = 0
        for number, wave in enumerate(waves, 1):
            self.subscriber(WaveStarted(number, len(waves), len(wave)))
            begun += len(wave)
            failed_before = self._failed
            self._begin(host_sweep, wave)
            why: str | None = None
            while self._awaited:
                self._listen(result)
                if why is None and self.cancellation.reason is None:
                    why = abort_reason(self._failed, begun, number, len(waves), self.settings.max_fail)
                    if why is not None:
                        self._skip(result, number, waves, why)
            self.subscriber(WaveFinished(number, len(waves), self._failed - failed_before))
            if why is not None:
                return
            if self.cancellation.reason is not None:
                later = [task.name for one in waves[number:] for task in one]
                self._leave(result, later, self.cancellation.error())
                return

    def _host_sweep(self) -> HostSweep:
        bounds = TraceSettings(
            self.settings.duration_s,
            printed=printed_entries(len(self.tasks)),
            keys=kept_keys(len(self.tasks), self.settings.forks),
        )
        if self.settings.detach is None:
            return HostSweep(
                self.settings,
                bounds,
                self.catalog,
                self.cancellation,
                self._arrived.put,
                self.slices,
                run_id=self.info.id,
            )
        return DetachedSweep(
            self.settings,
            bounds,
            self.catalog,
            self.cancellation,
            self._arrived.put,
            self.slices,
            run_id=self.info.id,
            detach=self.settings.detach,
            begins_at=time.monotonic() + lead_s(len(self.tasks)),
        )

    def _begin(self, host_sweep: HostSweep, wave: Sequence[HostTask]) -> None:
        """Let the hosts of a wave be taken, by as many threads as there are hosts, at most `forks`."""
        self._awaited = {task.name for task in wave}
        self._turns.add(Attempt(task) for task in wave)
        missing = max(0, min(self.settings.forks, len(wave)) - self._threads)
        self._threads += missing
        for _ in range(min(missing, _STARTED_AT_ONCE)):
            self._start(host_sweep, self._work)
        if missing > _STARTED_AT_ONCE:
            self._start(host_sweep, self._start_others, missing - _STARTED_AT_ONCE)

    def _start(self, host_sweep: HostSweep, work: Callable[..., None], *more: int) -> None:
        threading.Thread(target=work, args=(host_sweep, *more), daemon=True).start()

    def _start_others(self, host_sweep: HostSweep, number: int) -> None:
        """Start so many more threads, or as many as the system lets us have: those take the others' turns."""
        with contextlib.suppress(RuntimeError):
            for _ in range(number):
                self._start(host_sweep, self._work)

    def _work(self, host_sweep: HostSweep) -> None:
        """What one thread does: a host's turn after another's."""
        while (turn := self._turns.take()) is not None:
            outcome = self._swept(host_sweep, turn)
            dealt_with = None if outcome is None else self._arrived.leave(outcome)
            # Nothing of the host is held here while this thread waits.
            del turn, outcome
            if dealt_with is not None:
                dealt_with.wait()

    def _swept(self, host_sweep: HostSweep, turn: Attempt) -> HostOutcome | None:
        """What a host's turn came to; None where it will have another."""
        task = turn.task
        if turn.failed is not None and self.cancellation.reason is not None:
            return turn.failed
        if turn.failed is None and not turn.again and self.cancellation.reason is None:
            self._arrived.put(HostStarted(task.name))
        try:
            outcome = host_sweep.run(task)
        except Exception as error:
            if ours := shortage(error, HostState.TRACE_FAILED):
                return HostOutcome(HostResult(task.name, ours.state, Failure(ours.code, ours.message)))
            # A mistake of ours with one host must not cost the others' numbers.
            failure = Failure(
                "internal", f"a mistake in fleettrace itself, please report it with its traceback (-v): {error!r}"
            )
            trace = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
            return HostOutcome(HostResult(task.name, HostState.TRACE_FAILED, failure), traceback=trace)
        if outcome.again_in_s is not None:
            self._turns.add([Attempt(task, again=True)], outcome.again_in_s)
            return None
        failed = outcome.result.error
        if not outcome.retryable or failed is None:
            return outcome
        if turn.attempt <= self.settings.retries:
            pause = pause_s(turn.attempt)
            self._arrived.put(HostRetried(task.name, turn.attempt, failed, pause))
            self._turns.add([Attempt(task, turn.attempt + 1, outcome, turn.again)], pause)
            return None
        if turn.attempt > 1:
            outcome.result.error = replace(failed, message=f"{failed.message} ({turn.attempt} attempts)")
        return outcome

    def _listen(self, result: RunResult) -> None:
        """Wait a moment for something to arrive, and see whether the sweep is to end."""
        arrived = self._arrived.get(POLL_S)
        self._take(result, arrived)
        now = self.clock()
        if self.settings.deadline_s is not None and now - self._began > self.settings.deadline_s:
            self.cancellation.request(Reason.DEADLINE)
        if self.cancellation.reason is None:
            return
        if self._stopped is None:
            self._stopped = now
            self._turns.hurry()
            self.subscriber(StopRequested(self.cancellation.reason))
        self._idle = 0 if arrived is not None or self.cancellation.busy else self._idle + 1
        if self._idle > IDLE_POLLS or now - self._stopped > 2 * GRACE_S:
            # Those that are still being logged in to, and those that do not even answer to the closing of their
            # connection, have nothing to give.
            self._leave(result, list(self._awaited), self.cancellation.error())
        elif now - self._stopped > GRACE_S:
            self.cancellation.give_up()

    def _take(self, result: RunResult, arrived: Event | HostOutcome | Reason | None) -> None:
        if isinstance(arrived, HostOutcome):
            host = arrived.result
            if host.host in self._awaited:
                self._failed += not host.complete
                result.warnings.extend(arrived.warnings)
                result.fleet.add_host(self.info.id, host.host, arrived.summaries)
                result.fleet.bound(FLEET_KEYS)
                self._done(result, arrived)
        elif isinstance(arrived, Reason):
            if self.cancellation.reason is not None:
                self.cancellation.give_up()
            self.cancellation.request(arrived)
        elif arrived is not None:
            self.subscriber(arrived)

    def _done(self, result: RunResult, outcome: HostOutcome) -> None:
        host = outcome.result
        self._awaited.discard(host.host)
        result.hosts.append(host)
        for instance in host.instances:
            self.subscriber(InstanceFinished(host.host, instance))
        self.subscriber(
            HostFinished(host.host, host.state, host, outcome.summaries, outcome.warnings, outcome.traceback)
        )

    def _skip(self, result: RunResult, number: int, waves: Sequence[Sequence[HostTask]], why: str) -> None:
        """Leave the hosts alone that were not begun: of this wave, and all of those behind it."""
        names = [task.name for wave in ([*self._turns.withdraw()], *waves[number:]) for task in wave]
        if names:
            self.subscriber(HostsSkipped(number, len(names), why))
        self._leave(result, names, HostError(HostState.SKIPPED, "max-fail", f"not begun: {why}"))

    def _leave(self, result: RunResult, names: Iterable[str], error: HostError) -> None:
        """Report hosts that nothing more is expected of."""
        for name in names:
            self._done(result, HostOutcome(HostResult(name, error.state, Failure(error.code, error.message))))
