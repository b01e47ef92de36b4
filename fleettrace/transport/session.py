"""Run a script over a `Pipe`: the handshake, the bounds, and the end.

A `Pipe` holds what differs between an SSH channel and a local process. Everything that must not differ (the bounds, the
end of a script, the error codes) is here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Protocol

from fleettrace.errors import HostError
from fleettrace.transport.bootstrap import CLEAN_ENVIRONMENT, EndDetector, Handshake, frame
from fleettrace.transport.interface import Become, Chunk, Limits
from fleettrace.transport.script_errors import ScriptFailure, ShellFailure, output_limit, script_timeout

__all__ = ["READ_SIZE", "Pipe", "Session", "Sessions"]

READ_SIZE = 32 * 1024
"""Bytes read at once, and the most that one chunk holds."""

_READY_SECONDS = 30.0
"""The most that a login shell's rc files, or sudo and the directory service behind it, may take."""


class Pipe(Protocol):
    """The streams of a started command. One thread at a time may call `receive` and `send`, any thread the rest."""

    def receive(self, timeout: float) -> Chunk | None:
        """Return the next output, None once both streams ended. Raises TimeoutError after `timeout` seconds."""

    def send(self, data: bytes, timeout: float) -> None:
        """Write to standard input. Raises TimeoutError. Input that the command does not read any more is dropped."""

    def end_input(self) -> None:
        """Close standard input."""

    def status(self, timeout: float) -> int | None:
        """Return the exit status after the streams ended; None: a signal ended the command.

        Raises TimeoutError, and `HostError` where the connection broke.
        """

    def close(self) -> None:
        """End the command, wake `receive` and free everything. Safe more than once."""


class Sessions:
    """The running scripts of one connection, and the shell that waits for its next script."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._open: list[Session] = []
        self._idle: Pipe | None = None

    def start(
        self, connect: Callable[[], Pipe], become: Become | None, script: bytes, limits: Limits, *, keep_shell: bool
    ) -> Session:
        """Send `script` to the waiting shell, or else to the bootstrap behind a new pipe; return when it has started.

        With `keep_shell`, that shell stays for another script. The time of `limits` starts when this returns. Raises
        `HostError`, with the pipe closed.
        """
        with self._lock:
            waiting, self._idle = self._idle, None
        pipe = waiting or connect()
        session = Session(pipe, limits, self._keep if keep_shell else None)
        with self._lock:
            closed = self._closed
            self._open = [*(other for other in self._open if not other.ended), session]
        if closed:
            pipe.close()
            raise ScriptFailure.CONNECTION_CLOSED.error()
        session.begin(become, script, waiting=waiting is not None)
        return session

    def close(self) -> None:
        """End every script, and refuse new ones."""
        with self._lock:
            self._closed = True
            sessions, self._open = self._open, []
            idle, self._idle = self._idle, None
        for session in sessions:
            session.close()
        if idle is not None:
            idle.close()

    def _keep(self, pipe: Pipe) -> None:
        """Keep one waiting shell, and close a second one, which two scripts at once leave."""
        with self._lock:
            keep = self._idle is None and not self._closed
            if keep:
                self._idle = pipe
        if not keep:
            pipe.close()


class Session:
    """An `Execution`. A second iterator continues where the first one stopped.

    With `keep`, the shell stays, and `keep` gets the pipe to it when the script has ended.
    """

    def __init__(self, pipe: Pipe, limits: Limits, keep: Callable[[Pipe], None] | None) -> None:
        self._pipe = pipe
        self._keep = keep
        self._token = token_hex(8) if keep else ""
        self._end_detector = EndDetector(self._token) if keep else None
        self._limits = limits
        self._deadline = 0.0
        self._started = 0.0
        self._first: list[Chunk] = []
        self._bytes = 0
        self.ended = False
        self._closed = threading.Event()
        self._exit_status: int | None = None

    def begin(self, become: Become | None, script: bytes, *, waiting: bool) -> None:
        """Start the script. Called once, first. `waiting`: a shell waits for it already. Raises `HostError`."""
        seconds = min(_READY_SECONDS, self._limits.seconds)
        try:
            framed = frame(CLEAN_ENVIRONMENT + script, self._token)
            if waiting:
                self._send_to_waiting(framed, seconds)
            else:
                self._shake_hands(Handshake(become, framed), seconds)
        except BaseException as error:
            self.ended = True
            self._pipe.close()
            if self._closed.is_set() and isinstance(error, HostError):
                raise ScriptFailure.CLOSED.error() from None
            raise
        self._started = time.monotonic()
        self._deadline = self._started + self._limits.seconds

    def _send_to_waiting(self, framed: bytes, seconds: float) -> None:
        try:
            self._pipe.send(framed, seconds)
        except TimeoutError:
            raise ShellFailure.TIMEOUT.error(
                f"the waiting shell took no script for {seconds:g} s", "is it stopped?"
            ) from None

    def _shake_hands(self, handshake: Handshake, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        try:
            self._pipe.send(handshake.opening(), seconds)
            while not handshake.ready:
                chunk = self._pipe.receive(deadline - time.monotonic())
                if chunk is None:
                    raise handshake.failure(self._pipe.status(deadline - time.monotonic()))
                for answer in handshake.feed(chunk):
                    self._pipe.send(answer, deadline - time.monotonic())
        except TimeoutError:
            raise handshake.timeout_error(seconds) from None
        self._first = [piece for chunk in handshake.rest for piece in _pieces(chunk)]

    @property
    def exit_status(self) -> int | None:
        """As `Execution.exit_status`."""
        return self._exit_status

    def __iter__(self) -> Iterator[Chunk]:
        try:
            while (chunk := self._next()) is not None:
                self._count(chunk)
                if chunk.data:
                    yield chunk
        except HostError:
            self.ended = True
            self._pipe.close()
            if self._closed.is_set():
                raise ScriptFailure.CLOSED.error() from None
            raise

    def stop(self) -> None:
        """As `Execution.stop`."""
        if not self.ended:
            self._pipe.end_input()

    def end_within(self, seconds: float) -> None:
        """As `Execution.end_within`."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def close(self) -> None:
        """As `Execution.close`."""
        self._closed.set()
        if not self.ended:
            self._pipe.close()

    def _next(self) -> Chunk | None:
        if self.ended:
            return None
        chunk = self._first.pop(0) if self._first else self._receive()
        if chunk is None or self._end_detector is None or self._keep is None:
            return chunk
        printed = self._end_detector.feed(chunk)
        if self._end_detector.status is not None:
            self._exit_status = self._end_detector.status
            self.ended = True
            self._keep(self._pipe)
        return Chunk(chunk.stream, printed)

    def _receive(self) -> Chunk | None:
        try:
            chunk = self._pipe.receive(self._deadline - time.monotonic())
            if self._closed.is_set():
                raise ScriptFailure.CLOSED.error()
            if chunk is None:
                self._exit_status = self._pipe.status(self._deadline - time.monotonic())
                self.ended = True
                self._pipe.close()
        except TimeoutError:
            raise script_timeout(self._deadline - self._started) from None
        return chunk

    def _count(self, chunk: Chunk) -> None:
        self._bytes += len(chunk.data)
        if self._bytes > self._limits.max_bytes:
            raise output_limit(self._limits.max_bytes)


def _pieces(chunk: Chunk) -> Iterator[Chunk]:
    for start in range(0, len(chunk.data), READ_SIZE):
        yield Chunk(chunk.stream, chunk.data[start : start + READ_SIZE])
