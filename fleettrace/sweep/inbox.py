"""What many threads have to tell, for the one that listens and merges; bounded, however slow that one is.

A slice that nobody has heard of yet takes the host's next one in, so there is at most one a host; and a thread whose
host is done waits, with its connection closed, while several outcomes lie there unmerged.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleettrace.summary.counts import Summary
from fleettrace.sweep.events import Event, SliceArrived
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.stop import Reason

__all__ = ["OUTCOMES", "Inbox"]

OUTCOMES = 8
"""Outcomes that may lie there unmerged."""


@dataclass(frozen=True, slots=True)
class _SliceOf:
    """Stands in the queue for what arrived of a host meanwhile."""

    host: str


@dataclass(slots=True)
class Inbox:
    """Filled by many threads, emptied by one."""

    _queue: queue.SimpleQueue[Event | HostOutcome | Reason | _SliceOf] = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _slices: dict[str, dict[str, Summary]] = field(default_factory=dict)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(OUTCOMES))
    _closed: bool = False

    def put(self, item: Event | HostOutcome | Reason) -> None:
        """Leave something. A `Reason` may be left by a signal handler: that takes no lock."""
        if isinstance(item, SliceArrived):
            self._put_slice(item.host, item.slices)
            return
        if isinstance(item, HostOutcome):
            self._room.acquire()
        if not self._closed:
            self._queue.put(item)

    def _put_slice(self, host: str, slices: Mapping[str, Summary]) -> None:
        with self._lock:
            waiting = self._slices.get(host)
            if waiting is None:
                self._slices[host] = dict(slices)
                self._queue.put(_SliceOf(host))
                return
            for instance, summary in slices.items():
                waiting.setdefault(instance, Summary()).add(summary)

    def get(self, timeout: float) -> Event | HostOutcome | Reason | None:
        """The next item, None when there is none for `timeout` seconds."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(item, _SliceOf):
            with self._lock:
                return SliceArrived(item.host, self._slices.pop(item.host))
        if isinstance(item, HostOutcome):
            self._room.release()
        return item

    def close(self, threads: int) -> None:
        """Nobody empties it any more: let those of the `threads` that wait go their way."""
        self._closed = True
        self._room.release(max(1, threads))
