"""A fleettrace transport over anything that runs one command with one standard input and gives back what it printed.

Ansible's connections are of that kind: they do not stream, and they end the command's standard input at once. A script
of fleettrace takes that end for the controller's, so here it is given a standard input that stays open, and what the
controller cannot do meanwhile (ending it when it takes too long or prints too much) is done on the node.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterator

from fleettrace.transport.bootstrap import Handshake, argv, frame
from fleettrace.transport.interface import Become, Chunk, Limits, Stream, Target
from fleettrace.transport.script_errors import output_limit, script_timeout

__all__ = ["OneShotConnection", "OneShotTransport", "Ran", "Runner"]

Ran = tuple[int, bytes, bytes]
"""Exit status, standard output, standard error."""
Runner = Callable[[str, bytes], Ran]
"""Runs a command line of the login shell with a standard input, as root where that is wanted. Raises `HostError`."""

_CHUNK = 32 * 1024
_ENDED_BY_TIMEOUT = (124, 128 + 9, 128 + 15, -9, -15)
"""timeout(1): coreutils' own status, and what busybox's leaves; which a script may have of its own as well."""

# Constant, as every command line is; only the number differs.
_BOUNDED = 'if command -v timeout >/dev/null 2>&1; then exec timeout -k 5 "$1" sh -c "$2"; else exec sh -c "$2"; fi'

# A pipe that is opened by its name in /proc for reading and writing (fifo(7)) is its own writer, so it never ends. The
# script's streams are 5 and 6, each bounded by a head(1), which timeout(1) must not end before it has written; the
# script's status comes back through 7.
_HEAD = b"""exec 5>&1 6>&2
status=$(
{ { { true | { exec 0<>/proc/self/fd/0 5>&- 6>&- 7>&- 8>&-
"""
_TAIL = b"""
}; echo $? >&7; } 2>&8 | { trap '' TERM; exec head -c %d >&5; }; } 8>&1 | { trap '' TERM; exec head -c %d >&6; }; } 7>&1
)
exit "${status:-97}"
"""


class OneShotTransport:
    """There is nothing to log in to: that is the runner's, when it runs the first command."""

    def __init__(self, run: Runner, *, become: bool) -> None:
        """`become`: the runner uses sudo or the like, so that a shell that does not start may be its doing."""
        self._run = run
        self._become = become

    def connect(self, _target: Target) -> OneShotConnection:
        """As `Transport.connect`."""
        return OneShotConnection(self._run, become=self._become)

    def close(self) -> None:
        """As `Transport.close`."""


class OneShotConnection:
    """A host that runs one script after another."""

    def __init__(self, run: Runner, *, become: bool) -> None:
        self._run = run
        self._become = become

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> OneShotExecution:
        """Run `script` to its end, as `Connection.start` would start it. No shell stays."""
        del keep_shell
        handshake = Handshake(Become() if self._become else None, b"", logged_in=True)
        began = time.monotonic()
        status, out, err = self._run(_command_line(limits), frame(_bounded(script, limits)))
        late = status in _ENDED_BY_TIMEOUT and time.monotonic() - began >= limits.seconds
        for chunk in (Chunk(Stream.OUT, out), Chunk(Stream.ERR, err)):
            for _ in handshake.feed(chunk):
                pass
        if not handshake.ready:
            raise handshake.failure(status)
        return OneShotExecution(handshake.rest, status, limits, late=late)

    def close(self) -> None:
        """As `Connection.close`: nothing runs."""


class OneShotExecution:
    """A script that has ended: its output, and then what was wrong with it."""

    def __init__(self, output: list[Chunk], status: int, limits: Limits, *, late: bool) -> None:
        self._chunks = _pieces(output)
        self._status = status
        self._late = late
        self._limits = limits
        self._full = any(len(chunk.data) >= limits.max_bytes for chunk in output)

    def __iter__(self) -> Iterator[Chunk]:
        yield from self._chunks
        if self._full:
            raise output_limit(self._limits.max_bytes)
        if self._late:
            raise script_timeout(self._limits.seconds)

    @property
    def exit_status(self) -> int | None:
        """As `Execution.exit_status`."""
        return self._status

    def stop(self) -> None:
        """It has ended already."""

    def end_within(self, seconds: float) -> None:
        """It has ended already."""

    def close(self) -> None:
        """It has ended already."""


def _command_line(limits: Limits) -> str:
    shell, option, receive = argv(None)
    return shlex.join([shell, option, _BOUNDED, "fleettrace", str(math.ceil(limits.seconds)), receive])


def _bounded(script: bytes, limits: Limits) -> bytes:
    return _HEAD + script + _TAIL % (limits.max_bytes, limits.max_bytes)


def _pieces(output: list[Chunk]) -> Iterator[Chunk]:
    for chunk in output:
        for start in range(0, len(chunk.data), _CHUNK):
            yield Chunk(chunk.stream, chunk.data[start : start + _CHUNK])
