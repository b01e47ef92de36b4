"""End a sweep early without losing what it has collected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Protocol

from fleettrace.errors import HostError, HostState

__all__ = ["Cancellation", "Reason"]


class Reason(StrEnum):
    """Why a sweep ends early."""

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    DEADLINE = "deadline"
    ENOUGH = "enough"
    """The user has seen enough (`top`, SIGUSR1): a trace that prints all it has is complete, only shorter."""


class Closable(Protocol):
    """A connection to a host. `close` is safe from any thread."""

    def close(self) -> None: ...


class Stoppable(Protocol):
    """A trace. `stop` is safe from any thread."""

    def stop(self) -> None: ...


class Cancellation:
    """The cancellation of one sweep. Many threads register their connections here, then their traces."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._open: dict[Closable, Stoppable | None] = {}

    @property
    def reason(self) -> Reason | None:
        """Why the sweep ends early, None while it goes on."""
        return self._reason

    @property
    def busy(self) -> bool:
        """Whether a login to any host is open: only such a host can still have something to report."""
        with self._lock:
            return bool(self._open)

    def request(self, reason: Reason) -> None:
        """End the sweep: stop the running traces, which then print what they have, and close the other connections.

        Only the first request counts.
        """
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            connections = list(self._open.items())
        for connection, trace in connections:
            _end(connection.close if trace is None else trace.stop)

    def give_up(self) -> None:
        """Close every connection at once; on the nodes, the watchdog ends bpftrace."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _end(connection.close)

    @contextmanager
    def watch(self, connection: Closable, *, late: bool = False) -> Iterator[None]:
        """Register a connection while the block runs, and close it at the end or on a cancellation.

        Raises `HostError` where the sweep is cancelled already, unless `late`: to collect a trace is still possible.
        """
        with self._lock:
            self._open[connection] = None
        try:
            if not late:
                self.check()
            yield
        finally:
            _end(connection.close)
            with self._lock:
                del self._open[connection]

    def tracing(self, connection: Closable, trace: Stoppable) -> None:
        """From now on, a cancellation stops this trace, which prints what it has, and does not close the connection."""
        with self._lock:
            self._open[connection] = trace
            cancelled = self._reason is not None
        if cancelled:
            _end(trace.stop)

    def check(self) -> None:
        """Raise `HostError` where the sweep is cancelled. Called between two steps of the work on a host."""
        if self._reason is not None:
            raise self.error()

    def error(self) -> HostError:
        """Return the error of a host that was not traced because of the cancellation."""
        if self._reason is Reason.DEADLINE:
            return HostError(HostState.TIMEOUT, "deadline", "the deadline of the run passed before the trace was done")
        return HostError(HostState.INTERRUPTED, "interrupted", "the run was interrupted before the trace was done")


def _end(action: Callable[[], None]) -> None:
    """Stop or close one host. A broken connection may raise here, which must not protect the next host."""
    with suppress(Exception):
        action()
