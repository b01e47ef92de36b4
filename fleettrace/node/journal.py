"""The line that a trace writes to the node's own log: who traces, in which run, which processes.

Who it is, is what the controller says of itself. A sudoers rule or sshd's own log has the login.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterable
from functools import cache

__all__ = ["entry", "user_and_host"]

_UNSAFE = re.compile(r"[^A-Za-z0-9@._:-]")
_MOST_CHARS = 64
_MOST_PIDS = 50
"""syslog(3) keeps 1,024 bytes of a message in the oldest form."""


def entry(run: str, who: str, pids: Iterable[int]) -> str:
    """Return what both lines have in common: printable ASCII, below 800 characters."""
    every = sorted(pids)
    named = " ".join(map(str, every[:_MOST_PIDS]))
    more = f" and {len(every) - _MOST_PIDS} more" if len(every) > _MOST_PIDS else ""
    return f"run {_clean(run)} by {_clean(who)}, memcached pids {named}{more}"


@cache
def user_and_host() -> str:
    """Return `user@host` of this controller; the user's number where nothing names the user."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _clean(text: str) -> str:
    return _UNSAFE.sub("?", text)[:_MOST_CHARS] or "?"
