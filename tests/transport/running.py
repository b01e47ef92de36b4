"""Small words that the transport's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from fleettrace.errors import HostError
from fleettrace.transport.interface import Chunk, Connection, Execution, Limits, Stream, Target, Transport

__all__ = ["LIMITS", "failing", "output", "run", "status"]

LIMITS = Limits(seconds=30, max_bytes=1 << 24)


def output(chunks: Iterator[Chunk] | Execution | list[Chunk]) -> dict[Stream, bytes]:
    """What was printed, by stream."""
    printed = {Stream.OUT: b"", Stream.ERR: b""}
    for chunk in chunks:
        printed[chunk.stream] += chunk.data
    return printed


def status(execution: Execution) -> int | None:
    """Its exit status now: a call, since it changes behind the type checker's back."""
    return execution.exit_status


def run(
    transport: Transport, target: Target, script: bytes, limits: Limits = LIMITS
) -> tuple[bytes, bytes, int | None]:
    """Log in, run, log out: both streams and the exit status."""
    connection: Connection = transport.connect(target)
    with closing(connection):
        execution = connection.start(script, limits)
        printed = output(execution)
        return printed[Stream.OUT], printed[Stream.ERR], execution.exit_status


@contextmanager
def failing(code: str, state: str | None = None) -> Iterator[pytest.ExceptionInfo[HostError]]:
    """The block ends in a `HostError` with this code, on one line."""
    with pytest.raises(HostError) as caught:
        yield caught
    assert (caught.value.code, str(caught.value.state)) == (code, state or str(caught.value.state))
    assert "\n" not in str(caught.value)
