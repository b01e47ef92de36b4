"""Kill the Python process that starts with this directory on its path, just before the step in $CHAOS_KILL_AT.

A step is one of Python's audit events (docs.python.org/3/library/audit_events.html) and a part of one of its
arguments, such as `os.rename /run.ftr`.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["kill_at"]


def kill_at(event: str, arguments: tuple[object, ...]) -> None:
    """Kill this process at the event (an audit hook, see sys.addaudithook)."""
    if event == EVENT and any(PART in str(argument) for argument in arguments):
        os.kill(os.getpid(), signal.SIGKILL)


EVENT, _, PART = os.environ.get("CHAOS_KILL_AT", "").partition(" ")
if EVENT:
    sys.addaudithook(kill_at)
