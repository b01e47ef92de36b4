"""Read a password from a file, or from the output of the file where it is a program, as Ansible does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fleettrace.errors import ConfigError

__all__ = ["read_password"]

_TIMEOUT_S = 60


def read_password(path: Path, what: str, arguments: Sequence[str] = ()) -> bytes:
    """Return the password, without the end of its line. `what` names it in errors; a program gets `arguments`.

    Raises `ConfigError`, without any part of the password.
    """
    path = path.expanduser()
    if path.is_file() and os.access(path, os.X_OK):
        password = _printed(path, what, arguments).strip(b"\r\n")
    else:
        try:
            password = path.read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"the file with {what} cannot be read: {error.strerror}", file=path) from None
    if not password:
        raise ConfigError(f"{what} is empty", file=path)
    return password


def _printed(path: Path, what: str, arguments: Sequence[str]) -> bytes:
    try:
        done = subprocess.run(
            [str(path.absolute()), *arguments], stdout=subprocess.PIPE, timeout=_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise ConfigError(f"the program that prints {what} cannot be run: {error.strerror}", file=path) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"the program that prints {what} took more than {_TIMEOUT_S} s", file=path) from None
    if done.returncode != 0:
        raise ConfigError(f"the program that prints {what} ended with status {done.returncode}", file=path)
    return done.stdout
