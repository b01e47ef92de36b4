"""Run a program with a notice on its standard input: no shell, a time limit, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from fleettrace.playbook.notify.interface import NotifyError
from fleettrace.report.escape import escape_text

__all__ = ["feed"]

_MAX_STDERR = 300
"""Characters of a failed program's stderr that the error repeats."""


def feed(program: Sequence[str], data: bytes, timeout_s: float) -> None:
    """Run `program` to its end with `data` on its standard input. Raise `NotifyError` when it fails.

    Its standard output is discarded, because cron would mail it. After `timeout_s` seconds it is killed, together with
    its process group.
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
        _, stderr = running.communicate(data, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise NotifyError(f"{program[0]} did not end within {timeout_s:g} s and was killed") from None
    finally:
        _kill(running)
    if running.returncode:
        words = escape_text(stderr.decode("utf-8", "backslashreplace").strip()[-_MAX_STDERR:])
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
