"""What many threads have to tell, for the one that listens and merges; bounded, however slow that one is.

A slice that nobody has heard of yet takes the host's next one in, so there is at most one a host. And a thread whose
host is done waits until the listener has dealt with that: it begins no other host that it should not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleettrace.summary.counts import Summary
from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.events import Event, SliceArrived
from fleettrace.sweep.outcome import HostOutcome

__all__ = ["EventQueue"]


_MOST_WAITING = 10_000
"""Keys of one instance in slices that the listener has not taken yet."""


@dataclass(frozen=True, slots=True)
class _SliceOf:
    """Stands in the queue for what arrived of a host meanwhile."""

    host: str


@dataclass(frozen=True, slots=True)
class _Delivery:
    """An outcome, and what the thread that left it waits for."""

    outcome: HostOutcome
    dealt_with: threading.Event


@dataclass(slots=True)
class EventQueue:
    """Filled by many threads, emptied by one."""

    _queue: queue.SimpleQueue[Event | Reason | _SliceOf | _Delivery] = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _slices: dict[str, dict[str, Summary]] = field(default_factory=dict)
    _last: threading.Event | None = None
    """Of the outcome that was taken last."""
    _closed: bool = False

    def put(self, item: Event | Reason) -> None:
        """Leave something. A `Reason` may be left by a signal handler: that takes no lock."""
        if isinstance(item, SliceArrived):
            self._put_slice(item.host, item.slices)
        else:
            self._queue.put(item)

    def leave(self, outcome: HostOutcome) -> threading.Event:
        """Leave an outcome. The event is set when the one who took it has dealt with it and asks for the next thing."""
        dealt_with = threading.Event()
        with self._lock:
            if self._closed:
                dealt_with.set()
            else:
                self._queue.put(_Delivery(outcome, dealt_with))
        return dealt_with

    def _put_slice(self, host: str, slices: Mapping[str, Summary]) -> None:
        with self._lock:
            waiting = self._slices.get(host)
            if waiting is None:
                self._slices[host] = dict(slices)
                self._queue.put(_SliceOf(host))
                return
            for instance, summary in slices.items():
                whole = waiting.setdefault(instance, Summary())
                whole.add(summary)
                whole.bound(_MOST_WAITING)

    def get(self, timeout: float) -> Event | HostOutcome | Reason | None:
        """The next item, None when there is none for `timeout` seconds."""
        self._release()
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(item, _SliceOf):
            with self._lock:
                return SliceArrived(item.host, self._slices.pop(item.host))
        if isinstance(item, _Delivery):
            self._last = item.dealt_with
            return item.outcome
        return item

    def _release(self) -> None:
        if self._last is not None:
            self._last.set()
            self._last = None

    def close(self) -> None:
        """Nobody empties it any more: let everybody who waits go their way."""
        with self._lock:
            self._closed = True
        while self.get(0) is not None:
            pass
