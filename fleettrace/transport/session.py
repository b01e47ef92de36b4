"""A running script over any pair of byte streams: the handshake, the bounds, and the end.

What differs between an SSH channel and a local process is small and named `Pipe`; everything that must not differ
(how long, how much, how it ends, what an error is called) is here, once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Protocol

from fleettrace.errors import HostError, HostState
from fleettrace.transport.bootstrap import CLEAN, Ending, Handshake, frame
from fleettrace.transport.interface import Become, Chunk, Limits

__all__ = ["READ_SIZE", "Pipe", "Session", "Sessions"]

READ_SIZE = 32 * 1024
"""Bytes read at once, and the most that one chunk holds."""

_READY_SECONDS = 30.0
"""For a login shell's rc files, or for sudo and the directory service behind it; then the session is given up."""


class Pipe(Protocol):
    """The two ends of a started command. `receive` and `send` belong to one thread; the rest to any."""

    def receive(self, timeout: float) -> Chunk | None:
        """The next output; None once both streams ended. Raises TimeoutError after `timeout` seconds."""

    def send(self, data: bytes, timeout: float) -> None:
        """Write to standard input. Raises TimeoutError; input that nobody reads any more is no error."""

    def end_input(self) -> None:
        """Close standard input."""

    def status(self, timeout: float) -> int | None:
        """The exit status (None: ended by a signal), after the streams ended.

        Raises TimeoutError, and `HostError` where the connection broke instead.
        """

    def close(self) -> None:
        """End the command, wake `receive` and free everything. More than once is fine."""


class Sessions:
    """The scripts of one connection, so that closing it ends them, and the shell that one of them has left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._open: list[Session] = []
        self._idle: Pipe | None = None

    def start(
        self, connect: Callable[[], Pipe], become: Become | None, script: bytes, limits: Limits, *, keep_shell: bool
    ) -> Session:
        """Hand `script` to the shell that waits, or else to the bootstrap behind a new pipe; return once it has it.

        With `keep_shell`, that shell stays for another script. The clock of `limits` starts when this returns.
        Raises `HostError`, with the pipe closed.
        """
        with self._lock:
            waiting, self._idle = self._idle, None
        pipe = waiting or connect()
        session = Session(pipe, limits, self._keep if keep_shell else None)
        with self._lock:
            closed = self._closed
            self._open = [*(other for other in self._open if not other.over), session]
        if closed:
            pipe.close()
            raise HostError(HostState.UNREACHABLE, "connection-closed", "the connection is closed")
        session.begin(become, script, waiting=waiting is not None)
        return session

    def close(self) -> None:
        """End them all, and let no other start."""
        with self._lock:
            self._closed = True
            sessions, self._open = self._open, []
            idle, self._idle = self._idle, None
        for session in sessions:
            session.close()
        if idle is not None:
            idle.close()

    def _keep(self, pipe: Pipe) -> None:
        """Keep one shell that waits; of two scripts at once, the other's is closed."""
        with self._lock:
            keep = self._idle is None and not self._closed
            if keep:
                self._idle = pipe
        if not keep:
            pipe.close()


class Session:
    """An `Execution`. Iterating again goes on where the last iterator stopped.

    Its pipe is given to `keep`, if there is that, once the script is over and its shell waits for another one.
    """

    def __init__(self, pipe: Pipe, limits: Limits, keep: Callable[[Pipe], None] | None) -> None:
        self._pipe = pipe
        self._keep = keep
        self._word = token_hex(8) if keep else ""
        self._ending = Ending(self._word) if keep else None
        self._limits = limits
        self._deadline = 0.0
        self._began = 0.0
        self._first: list[Chunk] = []
        self._bytes = 0
        self.over = False
        self._closed = threading.Event()
        self._exit_status: int | None = None

    def begin(self, become: Become | None, script: bytes, *, waiting: bool) -> None:
        """Start the script; once, before anything else. `waiting`: the shell has begun already."""
        seconds = min(_READY_SECONDS, self._limits.seconds)
        try:
            framed = frame(CLEAN + script, self._word)
            if waiting:
                self._hand_over(framed, seconds)
            else:
                self._shake_hands(Handshake(become, framed), seconds)
        except BaseException as error:
            self.over = True
            self._pipe.close()
            if self._closed.is_set() and isinstance(error, HostError):
                raise _given_up() from None
            raise
        self._began = time.monotonic()
        self._deadline = self._began + self._limits.seconds

    def _hand_over(self, framed: bytes, seconds: float) -> None:
        try:
            self._pipe.send(framed, seconds)
        except TimeoutError:
            raise HostError(
                HostState.UNREACHABLE,
                "shell-timeout",
                f"the shell there took no script for {seconds:g} s: is it stopped?",
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
            raise handshake.silence(seconds) from None
        self._first = [piece for chunk in handshake.rest for piece in _pieces(chunk)]

    @property
    def exit_status(self) -> int | None:
        """The script's exit status once it is over; None while it runs or when a signal ended it."""
        return self._exit_status

    def __iter__(self) -> Iterator[Chunk]:
        try:
            while (chunk := self._next()) is not None:
                self._count(chunk)
                if chunk.data:
                    yield chunk
        except HostError:
            self.over = True
            self._pipe.close()
            if self._closed.is_set():
                raise _given_up() from None
            raise

    def stop(self) -> None:
        """Close the script's standard input. Safe from another thread, and more than once."""
        if not self.over:
            self._pipe.end_input()

    def end_within(self, seconds: float) -> None:
        """As `Execution.end_within`."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def close(self) -> None:
        """Give up on the script at once; whoever iterates gets `HostError` (`interrupted`, `closed`)."""
        self._closed.set()
        if not self.over:
            self._pipe.close()

    def _next(self) -> Chunk | None:
        if self.over:
            return None
        chunk = self._first.pop(0) if self._first else self._receive()
        if chunk is None or self._ending is None or self._keep is None:
            return chunk
        printed = self._ending.feed(chunk)
        if self._ending.status is not None:
            self._exit_status = self._ending.status
            self.over = True
            self._keep(self._pipe)
        return Chunk(chunk.stream, printed)

    def _receive(self) -> Chunk | None:
        try:
            chunk = self._pipe.receive(self._deadline - time.monotonic())
            if self._closed.is_set():
                raise _given_up()
            if chunk is None:
                self._exit_status = self._pipe.status(self._deadline - time.monotonic())
                self.over = True
                self._pipe.close()
        except TimeoutError:
            raise HostError(
                HostState.TIMEOUT,
                "script-timeout",
                f"the script did not end within {self._deadline - self._began:.3g} s and was given up",
            ) from None
        return chunk

    def _count(self, chunk: Chunk) -> None:
        self._bytes += len(chunk.data)
        if self._bytes > self._limits.max_bytes:
            raise HostError(
                HostState.TRACE_FAILED,
                "output-limit",
                f"the script printed more than {self._limits.max_bytes} bytes and was given up",
            )


def _pieces(chunk: Chunk) -> Iterator[Chunk]:
    for start in range(0, len(chunk.data), READ_SIZE):
        yield Chunk(chunk.stream, chunk.data[start : start + READ_SIZE])


def _given_up() -> HostError:
    return HostError(HostState.INTERRUPTED, "closed", "the script was given up before it ended")
