"""The sweep: a few threads that take hosts from a queue, and one that tells what happens and merges what comes.

A host's summaries go into the fleet's as they arrive and are let go, so memory does not grow with the hosts' data.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleettrace.errors import HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.run import Failure, HostResult, RunInfo, RunResult
from fleettrace.sweep.events import Event, HostFinished, Listener, RunFinished, RunStarted, StopRequested, ignore
from fleettrace.sweep.host import HostSweep
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.settings import HostTask, SweepSettings, printed_entries
from fleettrace.sweep.stop import Reason, Stop

__all__ = ["GRACE_S", "Sweep"]

POLL_S = 0.2
IDLE_POLLS = 5
"""A second in which no host is logged in to and nothing arrives: whatever a stopped sweep still waits for is a login,
which cannot be cut short and has nothing to report."""

GRACE_S = 12.0
"""Seconds that stopped traces have to print what they have, before their connections are closed: timeout(1) on the node
kills bpftrace 10 s after it was interrupted."""


@dataclass(slots=True)
class Sweep:
    """One run over many hosts. `run` does it; `order_stop` ends it early, from anywhere."""

    tasks: Sequence[HostTask]
    settings: SweepSettings
    info: RunInfo
    catalog: BinaryCatalog
    listener: Listener = ignore
    clock: Callable[[], float] = time.monotonic
    stop: Stop = field(default_factory=Stop)
    _arrived: queue.SimpleQueue[Event | HostOutcome | Reason] = field(default_factory=queue.SimpleQueue)

    def run(self) -> RunResult:
        """Sweep all hosts. Raises nothing that a host did: every host is in the result, with its state."""
        result = RunResult(self.info)
        self.listener(RunStarted(self.info.id, len(self.tasks), self.settings.duration_s))
        waiting: queue.SimpleQueue[HostTask] = queue.SimpleQueue()
        for task in self.tasks:
            waiting.put(task)
        host_sweep = self._host_sweep()
        for number in range(min(self.settings.forks, len(self.tasks))):
            threading.Thread(target=self._work, args=(host_sweep, waiting), name=f"sweep-{number}", daemon=True).start()
        self._collect(result, len(self.tasks))
        order = {task.name: position for position, task in enumerate(self.tasks)}
        result.hosts.sort(key=lambda host: order[host.host])
        self.info.finished = datetime.now(UTC)
        self.listener(RunFinished(result))
        return result

    def order_stop(self, reason: Reason) -> None:
        """End the sweep early and report what it has; ordered again, give up on hosts that are still answering.

        Safe in a signal handler: it takes no lock.
        """
        self._arrived.put(reason)

    def _host_sweep(self) -> HostSweep:
        bounds = TraceSettings(self.settings.duration_s, printed=printed_entries(len(self.tasks)))
        return HostSweep(self.settings, bounds, self.catalog, self.stop, self._arrived.put)

    def _work(self, host_sweep: HostSweep, waiting: queue.SimpleQueue[HostTask]) -> None:
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._arrived.put(host_sweep.run(task))
            except Exception as error:
                # A mistake of ours with one host must not cost the others' numbers.
                failure = Failure("internal", f"a mistake in fleettrace itself, please report it: {error!r}")
                self._arrived.put(HostOutcome(HostResult(task.name, HostState.TRACE_FAILED, failure)))

    def _collect(self, result: RunResult, hosts: int) -> None:
        """Tell the events and merge the outcomes until every host is done, or given up after a stop."""
        began = self.clock()
        stopped: float | None = None
        idle = 0
        while len(result.hosts) < hosts:
            try:
                arrived = self._arrived.get(timeout=POLL_S)
            except queue.Empty:
                arrived = None
            self._take(result, arrived)
            now = self.clock()
            if self.settings.deadline_s is not None and now - began > self.settings.deadline_s:
                self.stop.request(Reason.DEADLINE)
            if self.stop.reason is None:
                continue
            if stopped is None:
                stopped = now
                self.listener(StopRequested(self.stop.reason))
            idle = 0 if arrived is not None or self.stop.busy else idle + 1
            if idle > IDLE_POLLS or now - stopped > 2 * GRACE_S:
                self._abandon(result)
            elif now - stopped > GRACE_S:
                self.stop.give_up()

    def _take(self, result: RunResult, arrived: Event | HostOutcome | Reason | None) -> None:
        if isinstance(arrived, HostOutcome):
            result.hosts.append(arrived.result)
            result.warnings.extend(arrived.warnings)
            result.fleet.add_host(self.info.id, arrived.result.host, arrived.summaries)
            self.listener(HostFinished(arrived.result.host, arrived.result.state, arrived.result))
        elif isinstance(arrived, Reason):
            if self.stop.reason is not None:
                self.stop.give_up()
            self.stop.request(arrived)
        elif arrived is not None:
            self.listener(arrived)

    def _abandon(self, result: RunResult) -> None:
        """Report the hosts that have nothing to give: those that are still being logged in to, and those that do not
        even answer to the closing of their connection."""
        done = {host.host for host in result.hosts}
        error = self.stop.error()
        for task in self.tasks:
            if task.name not in done:
                result.hosts.append(HostResult(task.name, error.state, Failure(error.code, error.message)))
