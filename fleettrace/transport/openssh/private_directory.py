"""The private folder of a run that uses the system's `ssh`: control sockets, configurations, the way of a password.

Its name is short, for a socket's path holds 108 bytes (unix(7)). It is gone when the run ends, however that ends: a
small shell outlives a controller that is killed, ends the `ssh` processes that name the folder, and removes it.
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

__all__ = ["Answer", "PrivateDirectory"]

_PLACE = Path("/tmp")

# Gets the folder by a variable, so that its own arguments do not name it. `comm` is looked at for the case that a
# number became another process's meanwhile.
_CARETAKER = """
trap '' HUP INT TERM
while read -r word; do [ "$word" = done ] && exit; done
for file in $(grep -laF -e "$FLEETTRACE_FOLDER/" /proc/[0-9]*/cmdline 2>/dev/null); do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    read -r name 2>/dev/null <"/proc/$pid/comm" && [ "$name" = ssh ] && kill "$pid" 2>/dev/null
done
rm -rf -- "$FLEETTRACE_FOLDER"
"""

# ssh asks for other things as well (a key's passphrase, a token's PIN), which a login's password must not answer.
_ASKPASS = """#!/bin/sh
case $1 in *[Pp]assword:*|*[Pp]assword\\ for*) exec cat "$FLEETTRACE_ANSWER";; esac
exit 1
"""


class PrivateDirectory:
    """A folder that only this user may enter. Safe to share between threads."""

    def __init__(self) -> None:
        self.path = _PLACE / f"fleettrace-{secrets.token_hex(6)}"
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._configs: dict[str, Path] = {}
        self._askpass: Path | None = None
        self._caretaker = subprocess.Popen(
            ["/bin/sh", "-c", _CARETAKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "FLEETTRACE_FOLDER": str(self.path)},
            cwd="/",
            start_new_session=True,
        )
        try:
            self.path.mkdir(mode=0o700)
        except OSError:
            self.close()
            raise

    def control(self) -> Path:
        """Where a control socket may be."""
        return self.path / f"s{next(self._numbers)}"

    def config(self, text: str) -> Path:
        """The file with this configuration."""
        with self._lock:
            if text not in self._configs:
                path = self.path / f"c{len(self._configs)}"
                path.write_text(text)
                self._configs[text] = path
            return self._configs[text]

    def answer(self, password: str) -> Answer:
        """A way for one password to one `ssh`."""
        with self._lock:
            if self._askpass is None:
                path = self.path / "askpass"
                path.write_text(_ASKPASS)
                path.chmod(0o700)
                self._askpass = path
        return Answer(self.path / f"a{next(self._numbers)}", self._askpass, password)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError, ValueError):
            self._caretaker.communicate(b"done\n", timeout=5)


class Answer:
    """One password, given once over a named pipe to the program that ssh asks: it is in no file and no variable."""

    def __init__(self, pipe: Path, askpass: Path, password: str) -> None:
        os.mkfifo(pipe, 0o600)
        self._pipe = pipe
        self._askpass = askpass
        self._password = password.encode()

    @property
    def variables(self) -> dict[str, str]:
        """What ssh needs in its environment to ask us."""
        return {
            "SSH_ASKPASS": str(self._askpass),
            "SSH_ASKPASS_REQUIRE": "force",
            # Before OpenSSH 8.4 a display and no terminal are what makes ssh ask a program.
            "DISPLAY": os.environ.get("DISPLAY") or ":",
            "FLEETTRACE_ANSWER": str(self._pipe),
        }

    def give(self) -> bool:
        """Hand the password over if somebody waits for it; once. Gives whether that is done with."""
        try:
            pipe = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            # ENXIO: nobody reads yet (fifo(7)).
            return error.errno != errno.ENXIO
        try:
            self.withdraw()
            # Fits into an empty pipe.
            os.write(pipe, self._password + b"\n")
        except BrokenPipeError:
            pass
        finally:
            os.close(pipe)
        return True

    def withdraw(self) -> None:
        """Nobody may ask for it any more."""
        self._pipe.unlink(missing_ok=True)
