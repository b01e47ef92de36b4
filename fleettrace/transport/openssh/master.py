"""The `ssh` process that holds a host's connection (OpenSSH calls it the master): start it, wait for it, end it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleettrace.transport.openssh.private_directory import PasswordPipe
from fleettrace.transport.ssh_errors import SshFailure

__all__ = ["Master"]

_POLL_SECONDS = 0.02
"""Interval of the checks for the control socket, which appears when ssh is logged in."""
_GRACE_SECONDS = 0.5
"""From SIGTERM to SIGKILL; also the time that ssh has to end by itself when its connection broke."""
_STDERR_BYTES = 32 * 1024
"""The end of stderr that is stored."""


class Master:
    """An `ssh -N` with a control socket. It leads a session of its own, so that Ctrl-C reaches the controller only."""

    def __init__(self, arguments: Sequence[str], control: Path, variables: Mapping[str, str]) -> None:
        """Raises `HostError` (`unreachable`, `no-ssh`), and OSError where files or processes are exhausted."""
        self.control = control
        self._stderr = b""
        self._lock = threading.RLock()
        self._closed = False
        # ssh must never wait for the controller to read its stderr: what does not fit into the pipe is lost.
        self._stderr_pipe, stderr = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._process = _start(arguments, stderr, variables)
        except BaseException:
            os.close(self._stderr_pipe)
            raise
        finally:
            os.close(stderr)
        try:
            # Becomes readable when the process ends, and unlike wait(2) does not release its number.
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            os.close(self._stderr_pipe)
            self._process.kill()
            self._process.wait()
            raise
        self._end = select.poll()
        self._end.register(self._pidfd, select.POLLIN)

    def wait(self, deadline: float, password: PasswordPipe | None) -> bool:
        """Wait until it is logged in, and send it the password when it asks. Return False if it ended instead.

        Raises TimeoutError at `deadline` (of `time.monotonic`).
        """
        unsent = password
        while not self.control.exists():
            if unsent is not None and unsent.send():
                unsent = None
            if self._ended(0):
                return False
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._ended(min(_POLL_SECONDS, remaining))
            self._read_stderr()
        return True

    def stderr(self) -> str:
        """Return its stderr so far, or since `clear_stderr`."""
        self._read_stderr()
        return self._stderr.decode("utf-8", "replace")

    def clear_stderr(self) -> None:
        """Drop its stderr so far."""
        self._read_stderr()
        self._stderr = b""

    def broken(self) -> bool:
        """Return whether it ends within a moment, as it does when its connection broke."""
        return self._ended(_GRACE_SECONDS)

    def kill(self) -> None:
        """End it, and the `ssh` of a ProxyJump that carries its connection. Safe from another thread."""
        with self._lock:
            if self._closed:
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                # Nothing has waited for the process yet, so its number is still that of its own group.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)
                if self._ended(_GRACE_SECONDS):
                    break

    def close(self) -> None:
        """End it and free everything. Safe from another thread, and more than once."""
        self.kill()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
            os.close(self._pidfd)
            os.close(self._stderr_pipe)
            self.control.unlink(missing_ok=True)

    def _ended(self, seconds: float) -> bool:
        with self._lock:
            return self._closed or bool(self._end.poll(seconds * 1000))

    def _read_stderr(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            while not self._closed and (data := os.read(self._stderr_pipe, _STDERR_BYTES)):
                self._stderr = (self._stderr + data)[-_STDERR_BYTES:]


def _start(arguments: Sequence[str], stderr: int, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **variables},
            start_new_session=True,
        )
    except FileNotFoundError:
        raise SshFailure.NO_SSH.error() from None
