"""A trace that goes on when its connection is closed: left on the node for an agreed moment, and collected later.

What a node says is a stranger's word here as everywhere: the folder that it names is one of ours by its form, or none.
"""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass

from fleettrace.errors import HostError, HostState
from fleettrace.node.plausible import MAX_INTEGER, ImplausibleError, implausible, integer
from fleettrace.node.records import read_records
from fleettrace.node.scripts import script_text
from fleettrace.transport.interface import Connection, Execution, Limits, Stream

__all__ = ["GONE_STATUS", "NodeClock", "collect", "leave", "read_clock", "remove"]

MAX_OUTPUT = 32 << 20
"""Bytes of a trace's output that a node keeps in memory: 700 slices of 200 entries, or 70 of 2,000."""
MAX_WORDS = 1 << 20
"""Bytes of its standard error, where the looks are."""
GONE_STATUS = 3
"""The exit status of the collection where nothing is left to collect."""
_LIMITS = Limits(seconds=30, max_bytes=1 << 16)
_FOLDER = re.compile(r"/(?:run|dev/shm)/fleettrace-[A-Za-z0-9]{12}")
_CLOCK = r"""
record() { printf '%s\0%s\0' "$1" "$2"; }
record wall "$(date +%s.%N)"
record uptime "$(cut -d ' ' -f 1 /proc/uptime)"
record monotonic "$(sed -n 's/^now at \([0-9]*\) nsecs$/\1/p; 3q' /proc/timer_list 2>/dev/null)"
record end ''
"""


@dataclass(frozen=True, slots=True)
class NodeClock:
    """A node's clocks at one moment, which the controller knows to within `within_s` seconds."""

    at_s: float
    """On the controller's monotonic clock."""
    within_s: float
    monotonic_ns: int
    """What bpftrace's `nsecs` is there."""
    uptime_s: float
    skew_s: float | None
    """How many seconds its wall clock is ahead of the controller's; None where it does not tell."""

    def monotonic_at(self, at_s: float) -> int:
        """Nanoseconds on the node's monotonic clock at a moment of the controller's."""
        return self.monotonic_ns + round((at_s - self.at_s) * 1e9)

    def uptime_at(self, at_s: float) -> float:
        """Seconds since the node's boot at that moment."""
        return self.uptime_s + at_s - self.at_s

    def controllers(self, monotonic_ns: int) -> float:
        """The moment of the controller's monotonic clock at one of the node's."""
        return self.at_s + (monotonic_ns - self.monotonic_ns) / 1e9


def read_clock(connection: Connection) -> NodeClock:
    """Ask a node for its clocks. Raises `HostError`."""
    asked = time.monotonic()
    execution = connection.start(_CLOCK.encode(), _LIMITS)
    started = time.monotonic()
    said = _records(execution)
    answered, wall = time.monotonic(), time.time()
    try:
        seconds = re.fullmatch(rb"\d{1,10}(?:\.\d{1,9})?", said["uptime"])
        if seconds is None:
            raise ValueError(f"an uptime of {said['uptime'][:40]!r}")
        uptime = float(seconds[0])
        # Where the kernel keeps its list of timers to itself, the two differ by the time it was suspended, if ever.
        monotonic = integer(said["monotonic"] or b"%d" % round(uptime * 1e9), MAX_INTEGER, "a time")
        found = re.fullmatch(rb"(\d{1,12}\.\d{1,9})", said["wall"])
    except ImplausibleError as error:
        raise implausible(error) from None
    except (KeyError, ValueError) as error:
        raise HostError(HostState.TRACE_FAILED, "clock-garbled", f"the node did not tell its time: {error!r}") from None
    # Between the script's start and its answer, and so on average.
    half = (answered - started) / 2
    skew = None if found is None else float(found[1]) - (wall - half)
    return NodeClock(answered - half, (answered - asked) / 2, monotonic, uptime, skew)


def leave(connection: Connection, script: bytes, starts_s: float, ttl_s: float) -> str:
    """Leave `script` there, to be run `starts_s` seconds after the node's boot; its output stays for `ttl_s` seconds
    after its end. Gives the folder. Raises `HostError`."""
    variables = {
        "script": script.decode(),
        "starts": f"{starts_s * 100:.0f}",
        "ttl": f"{ttl_s:.0f}",
        "most": str(MAX_OUTPUT),
        "most_words": str(MAX_WORDS),
    }
    said = _records(connection.start(_script("detach.sh", variables), _LIMITS))
    folder = said.get("folder", b"").decode("ascii", "replace")
    if not _FOLDER.fullmatch(folder):
        why = said.get("failed", b"it named no folder of ours").decode("utf-8", "replace")[:200]
        raise HostError(HostState.TRACE_FAILED, "not-detached", f"the trace could not be left there: {why}")
    return folder


def collect(connection: Connection, folder: str, patience_s: float) -> Execution:
    """What was left in `folder`, as its script would have printed it. To stop the execution stops what still runs.
    Raises `HostError`."""
    script = _script("collect.sh", {"folder": _ours(folder), "patience": f"{patience_s:.0f}"})
    return connection.start(script, Limits(patience_s + 60, MAX_OUTPUT + MAX_WORDS + 4096))


def remove(connection: Connection, folder: str) -> None:
    """Remove it, now that it was collected. Raises `HostError`; then it removes itself later."""
    execution = connection.start(_script("collect.sh", {"folder": _ours(folder), "patience": "none"}), _LIMITS)
    try:
        for _ in execution:
            pass
    finally:
        execution.close()


def _ours(folder: str) -> str:
    """The folder, if it is one of ours. Raises `ValueError`."""
    if not _FOLDER.fullmatch(folder):
        raise ValueError(f"no folder of ours: {folder!r}")
    return folder


def _script(name: str, variables: dict[str, str]) -> bytes:
    lines = [f"{word}={shlex.quote(value)}\n" for word, value in variables.items()]
    return ("".join(lines) + script_text(name)).encode()


def _records(execution: Execution) -> dict[str, bytes]:
    try:
        report = b"".join(chunk.data for chunk in execution if chunk.stream is Stream.OUT)
        return {record.tag: record.value for record in read_records(report)}
    except ImplausibleError as error:
        raise implausible(error) from None
    except ValueError as error:
        raise HostError(
            HostState.TRACE_FAILED, "detach-garbled", f"the node gave an answer that cannot be read: {error}"
        ) from None
    finally:
        execution.close()
