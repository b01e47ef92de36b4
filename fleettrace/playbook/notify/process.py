"""Running somebody's program with a notice on its standard input: no shell, a limit of time, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from fleettrace.playbook.notify.interface import NotifyError
from fleettrace.report.escape import escape_text

__all__ = ["feed"]

_SAID = 300
"""Characters of what a program said that are repeated when it failed."""


def feed(program: Sequence[str], data: bytes, timeout_s: float) -> None:
    """Run `program` to its end with `data` on its standard input. Raises `NotifyError` when it fails.

    What it writes to standard output is dropped: cron would mail it. After `timeout_s` it is killed, with all that it
    started and that stayed in its process group.
    """
    try:
        running = subprocess.Popen(
            list(program),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise NotifyError(f"cannot run {program[0]}: {error.strerror}") from None
    try:
        _, said = running.communicate(data, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise NotifyError(f"{program[0]} did not end within {timeout_s:g} s, and was killed") from None
    finally:
        _kill(running)
    if running.returncode:
        words = escape_text(said.decode("utf-8", "backslashreplace").strip()[-_SAID:])
        ended = (
            f"was killed by signal {-running.returncode}"
            if running.returncode < 0
            else (f"ended with exit code {running.returncode}")
        )
        raise NotifyError(f"{program[0]} {ended}{f': {words}' if words else ''}")


def _kill(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
