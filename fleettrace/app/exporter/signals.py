"""The signals of an exporter: SIGTERM and SIGINT end it within seconds, SIGHUP starts a sweep at once."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.engine import Sweep

__all__ = ["EndRequested", "ExporterSignals"]

_REMINDER_S = 1.0
"""Seconds until a cancelled sweep gives up its traces, and as many until the exporter ends without it: the watchdog on
each node then ends bpftrace."""


class EndRequested(BaseException):
    """The exporter is to end now. Raised by a signal between two steps of a sweep."""


class ExporterSignals:
    """Receives the signals of the main thread while `handled` runs."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the exporter is to end."""
        self._requests = 0
        self._sweeping = False
        self._engine: Sweep | None = None
        self._arrived, self._arriving = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals while the block runs. SIGHUP stays ignored where it is, as under nohup(1)."""
        numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM]
        before = {number: signal.getsignal(number) for number in numbers}
        # A signal that arrives just before `wait` waits must end it too; its Python handler would run only after that.
        descriptor = signal.set_wakeup_fd(self._arriving, warn_on_full_buffer=False)
        try:
            for number, handler in before.items():
                if handler is not signal.SIG_IGN:
                    signal.signal(number, self._handle)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(descriptor)
            os.close(self._arrived)
            os.close(self._arriving)

    def wait(self, seconds: float) -> None:
        """Wait, at most until a signal arrives, or one has arrived since the last call."""
        readable, _, _ = select.select([self._arrived], [], [], max(0.0, seconds))
        if readable:
            os.read(self._arrived, 4096)

    @contextmanager
    def sweeping(self) -> Iterator[None]:
        """From now on, a request to end raises `EndRequested`, but while an engine runs."""
        self._sweeping = True
        try:
            if self.ended:
                raise EndRequested
            yield
        finally:
            self._sweeping = False

    @contextmanager
    def cancelling(self, engine: Sweep) -> Iterator[None]:
        """A request to end cancels this sweep while the block runs."""
        self._engine = engine
        try:
            yield
        finally:
            self._engine = None

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            return
        self.ended = True
        self._requests += 1
        if self._requests == 1:
            signal.setitimer(signal.ITIMER_REAL, _REMINDER_S, _REMINDER_S)
        if self._engine is not None and self._requests <= 2:
            # The first time the traces end, the second time their connections are closed.
            self._engine.cancel(Reason.TERMINATED)
        elif self._sweeping:
            raise EndRequested
