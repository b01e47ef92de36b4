"""Ending a sweep early without losing what it has: one switch that every host's work looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

from fleettrace.errors import HostError, HostState
from fleettrace.transport.interface import Connection, Execution

__all__ = ["Cancellation", "Reason"]


class Reason(StrEnum):
    """Why a sweep ends early."""

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    DEADLINE = "deadline"
    ENOUGH = "enough"
    """Somebody has seen what there was to see: traces that can say all they have end well, only sooner."""


class Cancellation:
    """One for a sweep. Hosts register their connections, then their traces; all from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._open: dict[Connection, Execution | None] = {}

    @property
    def reason(self) -> Reason | None:
        """Why the sweep ends early, None while it goes on."""
        return self._reason

    @property
    def busy(self) -> bool:
        """Whether any host is logged in to: only such a one can still have something to report."""
        with self._lock:
            return bool(self._open)

    def request(self, reason: Reason) -> None:
        """End the sweep: traces are stopped and print what they have, hosts that do not trace yet are let go.

        The first reason stays; asking again changes nothing.
        """
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            connections = list(self._open.items())
        for connection, trace in connections:
            _end(connection.close if trace is None else trace.stop)

    def give_up(self) -> None:
        """Close every connection at once; bpftrace on the nodes is ended by its watchdog there."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _end(connection.close)

    @contextmanager
    def watch(self, connection: Connection, *, late: bool = False) -> Iterator[None]:
        """While the host's work goes on, its connection is closed when the sweep ends. Work that is there to end a
        trace may begin `late`, when the sweep ends already."""
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

    def tracing(self, connection: Connection, trace: Execution) -> None:
        """From now on the host's trace is stopped first, so that it prints what it has."""
        with self._lock:
            self._open[connection] = trace
            late = self._reason is not None
        if late:
            _end(trace.stop)

    def check(self) -> None:
        """Raises `HostError` when the sweep is to end: for between two steps of a host's work."""
        if self._reason is not None:
            raise self.error()

    def error(self) -> HostError:
        """What became of a host that was not traced when the sweep ended."""
        if self._reason is Reason.DEADLINE:
            return HostError(HostState.TIMEOUT, "deadline", "the run's deadline came before the trace was done")
        return HostError(HostState.INTERRUPTED, "interrupted", "the run was interrupted before the trace was done")


def _end(way: Callable[[], None]) -> None:
    """End one host's work. A connection that is broken already may fail at that, and must not save the next one."""
    with suppress(Exception):
        way()
