"""The private directory of a run that uses the system's `ssh`: control sockets, configurations, password pipes.

Its name is short, because the path of a socket has at most 108 bytes (unix(7)). It is removed when the run ends, also
when the controller is killed: a small shell outlives the controller, ends each `ssh` that has the directory among its
arguments, and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import shutil
import subprocess
import threading
from pathlib import Path

__all__ = ["PasswordPipe", "PrivateDirectory"]

_PARENT = Path("/tmp")

# The directory is in a variable, so that the shell's own arguments do not name it. `comm` is checked because the kernel
# may have given the number to another process meanwhile.
_CLEANUP = """
trap '' HUP INT TERM
while read -r word; do [ "$word" = done ] && exit; done
for file in $(grep -laF -e "$FLEETTRACE_DIRECTORY/" /proc/[0-9]*/cmdline 2>/dev/null); do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    read -r name 2>/dev/null <"/proc/$pid/comm" && [ "$name" = ssh ] && kill "$pid" 2>/dev/null
done
rm -rf -- "$FLEETTRACE_DIRECTORY"
"""

# ssh also asks for a key's passphrase or a token's PIN, which must not be answered with the login's password.
_ASKPASS = """#!/bin/sh
case $1 in *[Pp]assword:*|*[Pp]assword\\ for*) exec cat "$FLEETTRACE_ANSWER";; esac
exit 1
"""


class PrivateDirectory:
    """A directory with access for this user only. Safe to share between threads."""

    def __init__(self) -> None:
        self.path = _PARENT / f"fleettrace-{secrets.token_hex(6)}"
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._configs: dict[str, Path] = {}
        self._askpass: Path | None = None
        self._cleanup = subprocess.Popen(
            ["/bin/sh", "-c", _CLEANUP],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "FLEETTRACE_DIRECTORY": str(self.path)},
            cwd="/",
            start_new_session=True,
        )
        try:
            self.path.mkdir(mode=0o700)
        except OSError:
            self.close()
            raise

    def control(self) -> Path:
        """Return a new path for a control socket."""
        return self.path / f"s{next(self._numbers)}"

    def config(self, text: str) -> Path:
        """Return the file with this configuration, and write it if it is new."""
        with self._lock:
            if text not in self._configs:
                path = self.path / f"c{len(self._configs)}"
                path.write_text(text)
                self._configs[text] = path
            return self._configs[text]

    def password_pipe(self, password: str) -> PasswordPipe:
        """Make a pipe that passes `password` to one `ssh`."""
        with self._lock:
            if self._askpass is None:
                path = self.path / "askpass"
                path.write_text(_ASKPASS)
                path.chmod(0o700)
                self._askpass = path
        return PasswordPipe(self.path / f"a{next(self._numbers)}", self._askpass, password)

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError, ValueError):
            self._cleanup.communicate(b"done\n", timeout=5)


class PasswordPipe:
    """A named pipe over which the program that `ssh` asks gets one password, once: no file or variable holds it."""

    def __init__(self, pipe: Path, askpass: Path, password: str) -> None:
        os.mkfifo(pipe, 0o600)
        self._pipe = pipe
        self._askpass = askpass
        self._password = password.encode()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that make `ssh` ask for the password here."""
        return {
            "SSH_ASKPASS": str(self._askpass),
            "SSH_ASKPASS_REQUIRE": "force",
            # Before OpenSSH 8.4, ssh asks a program only with a display and without a terminal.
            "DISPLAY": os.environ.get("DISPLAY") or ":",
            "FLEETTRACE_ANSWER": str(self._pipe),
        }

    def send(self) -> bool:
        """Write the password if the program reads the pipe. Return whether there is nothing left to do."""
        try:
            pipe = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            # ENXIO: no process reads yet (fifo(7)).
            return error.errno != errno.ENXIO
        try:
            self.remove()
            # Does not block: the password fits into an empty pipe.
            os.write(pipe, self._password + b"\n")
        except BrokenPipeError:
            pass
        finally:
            os.close(pipe)
        return True

    def remove(self) -> None:
        """Remove the pipe, so that no program can ask any more."""
        self._pipe.unlink(missing_ok=True)
