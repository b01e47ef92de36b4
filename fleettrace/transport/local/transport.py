"""The transport `local` (`ansible_connection: local`): scripts run in a child process of the controller.

The child leads a session of its own. A terminal's Ctrl-C then reaches the controller only, and the session's members
are the processes to end with the script.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from pathlib import Path

from fleettrace.transport.bootstrap import argv
from fleettrace.transport.exhaustion import exhaustion_error
from fleettrace.transport.interface import Chunk, Limits, Stream, Target
from fleettrace.transport.script_errors import ShellFailure
from fleettrace.transport.session import READ_SIZE, Session, Sessions

__all__ = ["LocalTransport"]

_GRACE_SECONDS = 0.5
"""Between asking the script's processes to end and killing them."""


class LocalTransport:
    """Run scripts on the controller; the target's address is ignored."""

    def connect(self, target: Target) -> LocalConnection:
        """As `Transport.connect`. Never fails."""
        return LocalConnection(target)

    def close(self) -> None:
        """As `Transport.close`. Connections share nothing."""


class LocalConnection:
    """A `Connection` to this machine."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sessions = Sessions()

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Session:
        """As `Connection.start`."""
        become = self._target.become
        return self._sessions.start(lambda: ProcessPipe(argv(become)), become, script, limits, keep_shell=keep_shell)

    def close(self) -> None:
        """As `Connection.close`."""
        self._sessions.close()


class ProcessPipe:
    """A child process in a session of its own, as a `Pipe`."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        with contextlib.ExitStack() as undo:
            try:
                # A byte in this pipe wakes `receive` when another thread closes.
                self._wake_read, self._wake_write = os.pipe()
                undo.callback(os.close, self._wake_read)
                undo.callback(os.close, self._wake_write)
                self._selector = selectors.DefaultSelector()
                undo.callback(self._selector.close)
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                )
            except OSError as error:
                raise exhaustion_error(error) or ShellFailure.FAILED.error(
                    f"cannot start `{arguments[0]}` ({error.strerror})", "check PATH"
                ) from None
            undo.pop_all()
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin = self._process.stdin
        self._outputs = {Stream.OUT: self._process.stdout, Stream.ERR: self._process.stderr}
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        for stream, output in self._outputs.items():
            self._selector.register(output, selectors.EVENT_READ, stream)
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self.closed = False

    def receive(self, timeout: float) -> Chunk | None:
        """As `Pipe.receive`."""
        deadline = time.monotonic() + timeout
        with self._reading:
            while not self.closed and len(self._selector.get_map()) > 1:
                # Compared first: a selector with a negative timeout still polls, so a flood would never end.
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not (events := self._selector.select(remaining)):
                    raise TimeoutError
                for key, _ in events:
                    if key.data is None:
                        return None
                    if data := os.read(key.fd, READ_SIZE):
                        return Chunk(key.data, data)
                    self._selector.unregister(key.fileobj)
        return None

    def send(self, data: bytes, timeout: float) -> None:
        """As `Pipe.send`."""
        deadline = time.monotonic() + timeout
        with contextlib.suppress(BrokenPipeError, ValueError), selectors.DefaultSelector() as selector:
            os.set_blocking(self._stdin.fileno(), False)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            view = memoryview(data)
            while view:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                view = view[self._stdin.write(view) or 0 :]

    def end_input(self) -> None:
        """As `Pipe.end_input`."""
        with self._lock, contextlib.suppress(OSError):
            self._stdin.close()

    def status(self, timeout: float) -> int | None:
        """As `Pipe.status`. `close` reaps the child."""
        if not _ended(self._process.pid, timeout):
            raise TimeoutError
        result = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        assert result is not None
        return result.si_status if result.si_code == os.CLD_EXITED else None

    def close(self) -> None:
        """As `Pipe.close`: end the input, then send SIGTERM and at last SIGKILL to the whole session."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            with contextlib.suppress(OSError):
                self._stdin.close()
            os.write(self._wake_write, b"x")
            self._end_session()
            with self._reading:
                self._selector.close()
                for output in self._outputs.values():
                    output.close()
                os.close(self._wake_read)
                os.close(self._wake_write)

    def _end_session(self) -> None:
        """End the session's processes. It reaps the leader last: until then no other session can get its number."""
        leader = self._process.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + _GRACE_SECONDS
            members = _session_members(leader)
            for pid in members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            for pid in members:
                _ended(pid, deadline - time.monotonic())
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)


def _session_members(leader: int) -> list[int]:
    """Return the live processes of a session. A process group is not enough: `timeout` makes one of its own."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            # proc(5): pid (comm) state ppid pgrp session ...; comm may hold a parenthesis.
            state, _, _, session = (directory / "stat").read_bytes().rpartition(b")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) == leader and state not in b"ZX":
            found.append(int(directory.name))
    return found


def _ended(pid: int, timeout: float) -> bool:
    """Return whether a process ends, or has ended, within `timeout` seconds: a pidfd becomes readable then."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            return bool(selector.select(max(0.0, timeout)))
    finally:
        os.close(descriptor)
