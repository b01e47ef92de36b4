"""Run a script to its end and collect what it printed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fleettrace.transport.interface import Connection, Limits, Stream

__all__ = ["Output", "run_script"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a script printed on each stream, and how it ended."""

    out: bytes
    err: bytes
    exit_status: int | None
    """None: a signal ended the script."""
    seconds: float
    """From the moment when the script started, on the controller's clock, to the end of its output."""


def run_script(connection: Connection, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Output:
    """Run `script` on `connection`, wait until it ends, and return its output.

    `keep_shell` is as in `Connection.start`. Raises `HostError` as `Connection.start` and the execution do; output
    that arrived before that is lost.
    """
    execution = connection.start(script, limits, keep_shell=keep_shell)
    started = time.monotonic()
    printed = {stream: bytearray() for stream in Stream}
    try:
        for chunk in execution:
            printed[chunk.stream] += chunk.data
        seconds = time.monotonic() - started
    finally:
        execution.close()
    return Output(bytes(printed[Stream.OUT]), bytes(printed[Stream.ERR]), execution.exit_status, seconds)
