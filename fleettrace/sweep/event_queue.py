"""The queue from the workers' threads to the engine's thread; its size is bounded, however slow the subscribers are.

While a host's slice waits, the host's next slices are merged into it, so at most one per host waits. A thread that has
put an outcome waits until the engine has merged it, so it starts no host that the engine may decide to skip.
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

_MAX_KEYS = 10_000
"""Keys of one instance in a slice that waits."""


@dataclass(frozen=True, slots=True)
class _SliceOf:
    """Stands in the queue for the slice of a host."""

    host: str


@dataclass(frozen=True, slots=True)
class _Delivery:
    """An outcome, and the event that its thread waits for."""

    outcome: HostOutcome
    merged: threading.Event


@dataclass(slots=True)
class EventQueue:
    """Filled by many threads, emptied by one."""

    _queue: queue.SimpleQueue[Event | Reason | _SliceOf | _Delivery] = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _slices: dict[str, dict[str, Summary]] = field(default_factory=dict)
    _last: threading.Event | None = None
    """Belongs to the outcome that was taken last."""
    _closed: bool = False

    def put(self, item: Event | Reason) -> None:
        """Add an event or a reason to cancel. A signal handler may put a `Reason`: that takes no lock."""
        if isinstance(item, SliceArrived):
            self._put_slice(item.host, item.slices)
        else:
            self._queue.put(item)

    def put_outcome(self, outcome: HostOutcome) -> threading.Event:
        """Add an outcome. The event returned is set when the reader asks for the item after it."""
        merged = threading.Event()
        with self._lock:
            if self._closed:
                merged.set()
            else:
                self._queue.put(_Delivery(outcome, merged))
        return merged

    def _put_slice(self, host: str, slices: Mapping[str, Summary]) -> None:
        with self._lock:
            waiting = self._slices.get(host)
            if waiting is None:
                self._slices[host] = dict(slices)
                self._queue.put(_SliceOf(host))
                return
            for instance, summary in slices.items():
                total = waiting.setdefault(instance, Summary())
                total.add(summary)
                total.bound(_MAX_KEYS)

    def get(self, timeout_s: float) -> Event | HostOutcome | Reason | None:
        """Return the next item, None when none arrives for `timeout_s` seconds."""
        self._release()
        try:
            item = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(item, _SliceOf):
            with self._lock:
                return SliceArrived(item.host, self._slices.pop(item.host))
        if isinstance(item, _Delivery):
            self._last = item.merged
            return item.outcome
        return item

    def _release(self) -> None:
        if self._last is not None:
            self._last.set()
            self._last = None

    def close(self) -> None:
        """Drop all items, and let every thread that waits go on, now and later."""
        with self._lock:
            self._closed = True
        while self.get(0) is not None:
            pass
