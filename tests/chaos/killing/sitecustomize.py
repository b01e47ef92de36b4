"""Kills the Python that starts with this directory on its path, at the step that $CHAOS_KILL_AT names.

A step is an audit event of Python's own (docs.python.org/3/library/audit_events.html) and a part of what it is about,
such as `os.rename /kept.ftr`: the kill comes right before it is done.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["kill_at"]


def kill_at(event: str, arguments: tuple[object, ...]) -> None:
    """The hook."""
    if event == EVENT and any(ABOUT in str(argument) for argument in arguments):
        os.kill(os.getpid(), signal.SIGKILL)


EVENT, _, ABOUT = os.environ.get("CHAOS_KILL_AT", "").partition(" ")
if EVENT:
    sys.addaudithook(kill_at)
