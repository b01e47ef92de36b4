"""The threads of a sweep, and the queue of attempts that they take: new hosts, retries, and traces to collect."""

from __future__ import annotations

import contextlib
import heapq
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count

from fleettrace.errors import HostError, HostState
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.event_queue import EventQueue
from fleettrace.sweep.events import HostRetried, HostStarted
from fleettrace.sweep.outcome import HostOutcome, failed_outcome
from fleettrace.sweep.retry import pause_s
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.tracer import HostTracer
from fleettrace.transport.shortage import shortage

__all__ = ["Workers"]

_STARTED_AT_ONCE = 32
"""Threads that the engine's thread starts itself; another thread starts the rest. While hundreds of threads log in, it
gets so little time that it took 40 s to start the last of 300, and it delivered no event until then."""
_TRACEBACK_CHARS = 20_000
"""The end of a longer traceback is stored: it names the exception."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one host."""

    task: HostTask
    number: int = 1
    failed: HostOutcome | None = None
    """The outcome of the attempt before this one, where it failed."""
    started: bool = False
    """An earlier attempt has left a trace on the host."""


@dataclass(slots=True)
class WorkQueue:
    """Attempts, each due at some moment, for many threads: a host that waits for its retry occupies no thread."""

    _changed: threading.Condition = field(default_factory=threading.Condition)
    _heap: list[tuple[float, int, Attempt]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)
    _hurried: bool = False
    _closed: bool = False

    def add(self, attempts: Iterable[Attempt], pause_s: float = 0.0) -> None:
        """Make these due in `pause_s` seconds."""
        due = time.monotonic() + pause_s
        with self._changed:
            for attempt in attempts:
                heapq.heappush(self._heap, (due, next(self._numbers), attempt))
            self._changed.notify_all()

    def take(self) -> Attempt | None:
        """Wait for the next attempt that is due, and return it; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is not None and (wait <= 0 or self._hurried):
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(wait)
            return None

    def hurry(self) -> None:
        """Make every attempt due at once, from now on."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def withdraw(self) -> list[HostTask]:
        """Remove the hosts that no thread has tried yet, and return them."""
        with self._changed:
            untried = [attempt.task for _, _, attempt in self._heap if _is_first(attempt)]
            self._heap = [entry for entry in self._heap if not _is_first(entry[2])]
            heapq.heapify(self._heap)
        return untried

    def close(self) -> None:
        """Drop all attempts, and let the threads end."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify_all()


def _is_first(attempt: Attempt) -> bool:
    return attempt.number == 1 and not attempt.started


@dataclass(slots=True)
class Workers:
    """At most `settings.forks` threads that make attempts, and put events and outcomes into `events`."""

    tracer: HostTracer
    settings: SweepSettings
    cancellation: Cancellation
    events: EventQueue
    _queue: WorkQueue = field(default_factory=WorkQueue)
    _threads: int = 0

    def add(self, wave: Iterable[HostTask]) -> None:
        """Start work on the hosts of a wave, with as many threads as there are hosts, up to `forks`."""
        attempts = [Attempt(task) for task in wave]
        self._queue.add(attempts)
        missing = max(0, min(self.settings.forks, len(attempts)) - self._threads)
        self._threads += missing
        for _ in range(min(missing, _STARTED_AT_ONCE)):
            _start(self._work)
        if missing > _STARTED_AT_ONCE:
            _start(self._start_rest, missing - _STARTED_AT_ONCE)

    def withdraw(self) -> list[HostTask]:
        """Remove the hosts that no thread has tried yet, and return them."""
        return self._queue.withdraw()

    def hurry(self) -> None:
        """Wait for no retry and no window any more."""
        self._queue.hurry()

    def close(self) -> None:
        """Let every thread end after the attempt that it makes."""
        self._queue.close()

    def _start_rest(self, number: int) -> None:
        """Start so many more threads, or as many as the system allows: those do the work of the others."""
        with contextlib.suppress(RuntimeError):
            for _ in range(number):
                _start(self._work)

    def _work(self) -> None:
        """Make one attempt after the other: the body of a thread."""
        while (attempt := self._queue.take()) is not None:
            outcome = self._outcome(attempt)
            merged = None if outcome is None else self.events.put_outcome(outcome)
            # Drop all references to the host's data while this thread waits.
            del attempt, outcome
            if merged is not None:
                merged.wait()

    def _outcome(self, attempt: Attempt) -> HostOutcome | None:
        """Make an attempt; return its outcome, or None where the host needs another attempt."""
        cancelled = self.cancellation.reason is not None
        if attempt.failed is not None and cancelled:
            return attempt.failed
        if attempt.failed is None and not attempt.started and not cancelled:
            self.events.put(HostStarted(attempt.task.name))
        try:
            outcome = self.tracer.run(attempt.task)
        except Exception as error:
            return _fault(attempt.task.name, error)
        if outcome.again_in_s is not None:
            self._queue.add([Attempt(attempt.task, started=True)], outcome.again_in_s)
            return None
        return self._retried(attempt, outcome) if outcome.retryable else outcome

    def _retried(self, attempt: Attempt, outcome: HostOutcome) -> HostOutcome | None:
        """Queue another attempt and return None; after the last one, return the failure with their number."""
        failed = outcome.result.error
        if failed is None:
            return outcome
        if attempt.number <= self.settings.retries:
            pause = pause_s(attempt.number)
            self.events.put(HostRetried(attempt.task.name, attempt.number, failed, pause))
            self._queue.add([replace(attempt, number=attempt.number + 1, failed=outcome)], pause)
            return None
        if attempt.number > 1:
            outcome.result.error = replace(failed, message=f"{failed.message} ({attempt.number} attempts)")
        return outcome


def _start(body: Callable[..., None], *arguments: int) -> None:
    threading.Thread(target=body, args=arguments, daemon=True).start()


def _fault(host: str, error: Exception) -> HostOutcome:
    """Return the outcome of an attempt that raised: a shortage on the controller, or a fault in fleettrace, which must
    not cost the numbers of the other hosts."""
    if lacking := shortage(error, HostState.TRACE_FAILED):
        return failed_outcome(host, lacking)
    message = f"a fault in fleettrace itself, please report it with its traceback (-v): {error!r}"
    outcome = failed_outcome(host, HostError(HostState.TRACE_FAILED, "internal", message))
    outcome.traceback = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    return outcome
