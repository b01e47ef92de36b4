"""Whose turn it is: the hosts that wait for a thread, those that failed to log in until their next try is due."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.settings import HostTask

__all__ = ["Attempt", "WorkQueue"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one host; attempts count from 1."""

    task: HostTask
    attempt: int = 1
    failed: HostOutcome | None = None
    """What the attempt before this one came to."""
    again: bool = False
    """The host was begun, and left alone until now."""


@dataclass(slots=True)
class WorkQueue:
    """A queue for many threads. A host that waits for its next try keeps no thread waiting."""

    _changed: threading.Condition = field(default_factory=threading.Condition)
    _heap: list[tuple[float, int, Attempt]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)
    _hurried: bool = False
    _closed: bool = False

    def add(self, turns: Iterable[Attempt], pause_s: float = 0.0) -> None:
        """Let these be taken once `pause_s` is over."""
        due = time.monotonic() + pause_s
        with self._changed:
            for turn in turns:
                heapq.heappush(self._heap, (due, next(self._numbers), turn))
            self._changed.notify_all()

    def take(self) -> Attempt | None:
        """The next turn that is due: the one that waited longest. Waits for it; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is not None and (wait <= 0 or self._hurried):
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(wait)
            return None

    def hurry(self) -> None:
        """Make everything due at once, from now on."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def withdraw(self) -> list[HostTask]:
        """Take back the hosts that no thread has tried yet."""
        with self._changed:
            untried = [turn.task for _, _, turn in self._heap if turn.attempt == 1 and not turn.again]
            self._heap = [entry for entry in self._heap if entry[2].attempt > 1 or entry[2].again]
            heapq.heapify(self._heap)
        return untried

    def close(self) -> None:
        """Nobody gets a turn any more."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify_all()
