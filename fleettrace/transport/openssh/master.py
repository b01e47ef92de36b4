"""The one `ssh` process that holds a host's connection: started, waited for, asked whether it lives, ended."""

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

from fleettrace.errors import HostError, HostState
from fleettrace.transport.openssh.private_directory import Answer

__all__ = ["Master"]

_LOOK_SECONDS = 0.02
"""How often the control socket is looked for, which appears when ssh is logged in."""
_GRACE_SECONDS = 0.5
"""Between asking ssh to end and killing it; and for it to end by itself when its connection broke."""
_WORDS_KEPT = 32 * 1024


class Master:
    """An `ssh -N` with a control socket. It leads a session of its own: a terminal's Ctrl-C is for the controller."""

    def __init__(self, arguments: Sequence[str], control: Path, variables: Mapping[str, str]) -> None:
        """Raises `HostError` (`unreachable`, `no-ssh`), and OSError for want of files or processes."""
        self.control = control
        self._said = b""
        self._lock = threading.RLock()
        self._closed = False
        # ssh must never wait for us to read what it says: what does not fit into the pipe is lost.
        self._words, words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._process = _started(arguments, words, variables)
        except BaseException:
            os.close(self._words)
            raise
        finally:
            os.close(words)
        try:
            # Readable once the process ended, and does not take its number away as waiting for it does.
            self._alive = os.pidfd_open(self._process.pid)
        except OSError:
            os.close(self._words)
            self._process.kill()
            self._process.wait()
            raise
        self._end = select.poll()
        self._end.register(self._alive, select.POLLIN)

    def wait(self, deadline: float, answer: Answer | None) -> bool:
        """Wait until it is logged in, and hand it the password when it asks. False: it ended instead.

        Raises TimeoutError at `deadline` (of `time.monotonic`).
        """
        waiting = answer
        while not self.control.exists():
            if waiting is not None and waiting.give():
                waiting = None
            if self._ended(0):
                return False
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._ended(min(_LOOK_SECONDS, left))
            self._listen()
        return True

    def words(self) -> str:
        """What it said so far, or since `forget`."""
        self._listen()
        return self._said.decode("utf-8", "replace")

    def forget(self) -> None:
        """Make room for what it says next."""
        self._listen()
        self._said = b""

    def broken(self) -> bool:
        """Whether it ends within a moment: it does when its connection broke."""
        return self._ended(_GRACE_SECONDS)

    def kill(self) -> None:
        """End it, and what carries its connection (a ProxyJump's `ssh`). Safe from another thread."""
        with self._lock:
            if self._closed:
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                # It is not waited for yet, so its number is still its own group's.
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
            os.close(self._alive)
            os.close(self._words)
            self.control.unlink(missing_ok=True)

    def _ended(self, seconds: float) -> bool:
        with self._lock:
            return self._closed or bool(self._end.poll(seconds * 1000))

    def _listen(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            while not self._closed and (data := os.read(self._words, _WORDS_KEPT)):
                self._said = (self._said + data)[-_WORDS_KEPT:]


def _started(arguments: Sequence[str], words: int, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env={**os.environ, **variables},
            start_new_session=True,
        )
    except FileNotFoundError:
        raise HostError(
            HostState.UNREACHABLE,
            "no-ssh",
            "there is no `ssh` here: install OpenSSH's client, or use --transport ssh",
        ) from None
