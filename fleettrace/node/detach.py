"""Detach a trace: leave its script on the node, to run at an agreed moment, and collect its output later.

The answers of a node are not trusted here either: the directory that it names must have the form of ours.
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
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Execution, Limits

__all__ = ["GONE_STATUS", "NodeClock", "collect", "leave", "read_clock", "remove"]

MAX_STDOUT = 32 << 20
"""Bytes of a trace's output that a node stores in memory: 700 slices of 200 entries, or 70 of 2,000."""
_MAX_STDERR = 4 << 20
"""Bytes of its standard error, which has the samples: up to 20 kB of a process."""
GONE_STATUS = 3
"""The exit status of the collection if the directory no longer exists."""
_LIMITS = Limits(seconds=30, max_bytes=1 << 16)
_DIRECTORY = re.compile(r"/(?:run|dev/shm)/fleettrace-[A-Za-z0-9]{12}")
_CLOCK = r"""
record() { printf '%s\0%s\0' "$1" "$2"; }
record wall "$(date +%s.%N)"
record uptime "$(cut -d ' ' -f 1 /proc/uptime)"
record monotonic "$(sed -n 's/^now at \([0-9]*\) nsecs$/\1/p; 3q' /proc/timer_list 2>/dev/null)"
record end ''
"""


@dataclass(frozen=True, slots=True)
class NodeClock:
    """A node's clocks at one moment, which the controller knows within `within_s` seconds."""

    at_s: float
    """On the controller's monotonic clock."""
    within_s: float
    monotonic_ns: int
    """bpftrace's `nsecs` at that moment."""
    uptime_s: float
    skew_s: float | None
    """Seconds by which its wall clock is ahead of the controller's; None if unknown."""

    def monotonic_at(self, at_s: float) -> int:
        """Return the node's monotonic clock in nanoseconds at a moment of the controller's."""
        return self.monotonic_ns + round((at_s - self.at_s) * 1e9)

    def uptime_at(self, at_s: float) -> float:
        """Return the seconds since the node's boot at a moment of the controller's."""
        return self.uptime_s + at_s - self.at_s

    def controllers(self, monotonic_ns: int) -> float:
        """Return the controller's monotonic clock in seconds at a moment of the node's."""
        return self.at_s + (monotonic_ns - self.monotonic_ns) / 1e9


def read_clock(connection: Connection) -> NodeClock:
    """Read a node's clocks. Raises `HostError`."""
    asked = time.monotonic()
    output = run_script(connection, _CLOCK.encode(), _LIMITS)
    answered, wall = time.monotonic(), time.time()
    values = _records(output.out)
    try:
        seconds = re.fullmatch(rb"\d{1,10}(?:\.\d{1,9})?", values["uptime"])
        if seconds is None:
            raise ValueError(f"an uptime of {values['uptime'][:40]!r}")
        uptime = float(seconds[0])
        # A kernel that hides its list of timers leaves only the uptime, which also counts the time in suspension.
        monotonic = integer(values["monotonic"] or b"%d" % round(uptime * 1e9), MAX_INTEGER, "a time")
        found = re.fullmatch(rb"(\d{1,12}\.\d{1,9})", values["wall"])
    except ImplausibleError as error:
        raise implausible(error) from None
    except (KeyError, ValueError) as error:
        message = f"the node did not report its time: {error!r}"
        raise HostError(HostState.TRACE_FAILED, "clock-garbled", message) from None
    # The clocks were read between the script's start and its answer, on average in the middle.
    half = output.seconds / 2
    skew = None if found is None else float(found[1]) - (wall - half)
    return NodeClock(answered - half, (answered - asked) / 2, monotonic, uptime, skew)


def leave(connection: Connection, script: bytes, starts_s: float, ttl_s: float) -> str:
    """Leave `script` on the node, to run `starts_s` seconds after the node's boot; return its directory.

    Its output stays there for `ttl_s` seconds after its end. Raises `HostError`.
    """
    variables = {
        "script": script.decode(),
        "starts": f"{starts_s * 100:.0f}",
        "ttl": f"{ttl_s:.0f}",
        "most": str(MAX_STDOUT),
        "most_words": str(_MAX_STDERR),
    }
    values = _records(run_script(connection, _script("detach.sh", variables), _LIMITS).out)
    directory = values.get("folder", b"").decode("ascii", "replace")
    if not _DIRECTORY.fullmatch(directory):
        why = values.get("failed", b"its answer names no valid directory").decode("utf-8", "replace")[:200]
        raise HostError(HostState.TRACE_FAILED, "not-detached", f"the trace could not be left on the node: {why}")
    return directory


def collect(connection: Connection, directory: str, patience_s: float) -> Execution:
    """Start to collect the output that a script left in `directory`, as the script would have printed it.

    Stopping the execution stops a script that still runs. Raises `HostError`.
    """
    script = _script("collect.sh", {"folder": _valid(directory), "patience": f"{patience_s:.0f}"})
    return connection.start(script, Limits(patience_s + 60, MAX_STDOUT + _MAX_STDERR + 4096))


def remove(connection: Connection, directory: str) -> None:
    """Remove a collected directory. Raises `HostError`; the directory then removes itself later."""
    run_script(connection, _script("collect.sh", {"folder": _valid(directory), "patience": "none"}), _LIMITS)


def _valid(directory: str) -> str:
    """Return the directory. Raises `ValueError` unless it has the form of ours."""
    if not _DIRECTORY.fullmatch(directory):
        raise ValueError(f"not a directory of a detached trace: {directory!r}")
    return directory


def _script(file: str, variables: dict[str, str]) -> bytes:
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables.items()]
    return ("".join(lines) + script_text(file)).encode()


def _records(report: bytes) -> dict[str, bytes]:
    try:
        return {record.tag: record.value for record in read_records(report)}
    except ImplausibleError as error:
        raise implausible(error) from None
    except ValueError as error:
        message = f"the node's answer cannot be read: {error}"
        raise HostError(HostState.TRACE_FAILED, "detach-garbled", message) from None
