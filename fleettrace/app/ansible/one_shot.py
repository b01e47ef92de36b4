"""A fleettrace transport over a function that runs one command and returns its whole output.

Ansible's connections work like that: they do not stream, and they close the command's standard input at once. A script
of fleettrace takes the end of its input for the end of the controller, so this transport gives it an input that stays
open. The node itself ends a script that takes too long or prints too much, because the controller cannot.
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
"""Runs a command line in the login shell with this standard input, as root if so configured. Raises `HostError`."""

_CHUNK = 32 * 1024
_ENDED_BY_TIMEOUT = (124, 128 + 9, 128 + 15, -9, -15)
"""The status of timeout(1) from coreutils and from busybox; a script can end with the same status itself."""

# Constant, as all command lines are; only the number of seconds differs.
_BOUNDED = 'if command -v timeout >/dev/null 2>&1; then exec timeout -k 5 "$1" sh -c "$2"; else exec sh -c "$2"; fi'

# A pipe opened by its name in /proc for reading and writing (fifo(7)) has itself as a writer, so it never ends. The
# script's output goes to descriptors 5 and 6, each bounded by a head(1), which timeout(1) must not end before it has
# written; descriptor 7 returns the script's status.
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
    """A transport without a login of its own: the runner logs in when it runs the first command."""

    def __init__(self, run: Runner, *, become: bool) -> None:
        """`become`: the runner uses sudo or the like, so a shell that does not start can be sudo's failure."""
        self._run = run
        self._become = become

    def connect(self, _target: Target) -> OneShotConnection:
        """See `Transport.connect`."""
        return OneShotConnection(self._run, become=self._become)

    def close(self) -> None:
        """See `Transport.close`."""


class OneShotConnection:
    """A connection that runs one script after another."""

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
            # It sends nothing: Ansible's become plugin answered the question for a password.
            list(handshake.feed(chunk))
        if not handshake.ready:
            raise handshake.failure(status)
        return OneShotExecution(handshake.rest, status, limits, late=late)

    def close(self) -> None:
        """See `Connection.close`: nothing is running."""


class OneShotExecution:
    """A script that has ended. Iterating yields its output, then raises its error."""

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
        """See `Execution.exit_status`."""
        return self._status

    def stop(self) -> None:
        """Do nothing: the script has ended."""

    def end_within(self, seconds: float) -> None:
        """Do nothing: the script has ended."""

    def close(self) -> None:
        """Do nothing: the script has ended."""


def _command_line(limits: Limits) -> str:
    shell, option, receive = argv(None)
    return shlex.join([shell, option, _BOUNDED, "fleettrace", str(math.ceil(limits.seconds)), receive])


def _bounded(script: bytes, limits: Limits) -> bytes:
    return _HEAD + script + _TAIL % (limits.max_bytes, limits.max_bytes)


def _pieces(output: list[Chunk]) -> Iterator[Chunk]:
    for chunk in output:
        for start in range(0, len(chunk.data), _CHUNK):
            yield Chunk(chunk.stream, chunk.data[start : start + _CHUNK])
