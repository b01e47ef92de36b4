"""Helpers that the transport's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from fleettrace.errors import HostError
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Chunk, Execution, Limits, Stream, Target, Transport

__all__ = ["LIMITS", "failing", "output", "run", "status"]

LIMITS = Limits(seconds=30, max_bytes=1 << 24)


def output(chunks: Iterator[Chunk] | Execution | list[Chunk]) -> dict[Stream, bytes]:
    """Return the output by stream."""
    printed = {Stream.OUT: b"", Stream.ERR: b""}
    for chunk in chunks:
        printed[chunk.stream] += chunk.data
    return printed


def status(execution: Execution) -> int | None:
    """Return its exit status now: a call, because the type checker takes a property for constant."""
    return execution.exit_status


def run(
    transport: Transport, target: Target, script: bytes, limits: Limits = LIMITS
) -> tuple[bytes, bytes, int | None]:
    """Log in, run a script, log out. Return both streams and the exit status."""
    with closing(transport.connect(target)) as connection:
        done = run_script(connection, script, limits)
        return done.out, done.err, done.exit_status


@contextmanager
def failing(code: str, state: str | None = None) -> Iterator[pytest.ExceptionInfo[HostError]]:
    """Expect the block to raise a `HostError` with this code, in one line."""
    with pytest.raises(HostError) as caught:
        yield caught
    assert (caught.value.code, str(caught.value.state)) == (code, state or str(caught.value.state))
    assert "\n" not in str(caught.value)
