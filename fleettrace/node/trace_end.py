"""How a host's trace ends: what it gave, or why bpftrace attached nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from fleettrace.errors import HostError, HostState
from fleettrace.node.samples import Sample
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure

__all__ = [
    "NOT_ATTACHED",
    "OVERWRITTEN",
    "REFUSED",
    "SLOW_START",
    "UNSTOPPABLE",
    "AttachError",
    "ProgramRefusedError",
    "TraceEnd",
    "TracedProcess",
    "children_s",
    "reported_processes",
    "stat_fields",
]

_NUMBER = re.compile(rb"\d{1,18}")
_DEAD = (b"Z", b"X", b"x")
"""States of /proc/PID/stat in which a process has ended (proc(5)): a zombie waits for a parent that may never ask."""

REFUSED = "program-refused"
"""The code of a trace whose program the kernel's verifier, or bpftrace itself, did not take."""
OVERWRITTEN = "binary-overwritten"
"""The code, and guard.pl's word, of a trace that was ended because nothing ran a traced binary any more."""
SLOW_START = "slow-start"
"""The code of a bpftrace that did not begin within its bound."""
UNSTOPPABLE = "bpftrace-unstoppable"
"""The code, and input.sh's word, of a command for bpftrace that only SIGKILL ends."""
NOT_ATTACHED = ("attach-failed", "probes-missing")
"""The codes of a trace that had not every probe in place, and so traced nothing."""


class AttachError(HostError):
    """bpftrace did not attach every probe. `gone` are the pids that are no longer the processes they were."""

    def __init__(self, code: str, message: str, gone: frozenset[int] = frozenset()) -> None:
        super().__init__(HostState.TRACE_FAILED, code, message)
        self.gone = gone


class ProgramRefusedError(HostError):
    """The node's kernel refused a program. `reason` is the verifier's own where its log was there (`logged`), and
    otherwise bpftrace's."""

    def __init__(self, reason: str, *, logged: bool = True) -> None:
        super().__init__(HostState.TRACE_FAILED, REFUSED, f"its kernel refused the program: {reason}")
        self.reason = reason
        self.logged = logged


@dataclass(frozen=True, slots=True)
class TracedProcess:
    """A traced process before or after the trace: when it started, in clock ticks."""

    start: int


@dataclass(slots=True)
class TraceEnd:
    """How a trace ended."""

    whole: bool
    """The program ended itself at the end of its window."""
    broken: bool
    """What was printed does not reach to the end of the trace."""
    window_s: float
    """Seconds from the start of the counting to the end of the last slice, by the node's clock."""
    summaries: dict[int, Summary]
    """By pid. Every traced process has one, with a total of 0 when it got no request."""
    alive: set[int]
    """The pids that are still the processes they were."""
    implausible: set[int]
    """The pids whose keys cannot be memcached's: the probe sits in the wrong place, and nothing it read counts."""
    undecided: set[int] = field(default_factory=set)
    """The pids of whose requests too many may or may not be of the kinds asked for (`--ops`)."""
    start_ns: int = 0
    """When the counting began, by the node's monotonic clock."""
    looks: dict[int, list[Sample]] = field(default_factory=dict)
    """By pid, in order, on the same clock."""
    overfull: bool = False
    """The map of a program of the user's own was full."""
    tracer_cpu_s: float | None = None
    words: str = ""
    """What bpftrace said that was no part of the program's output."""
    refused: dict[int, Failure] = field(default_factory=dict)
    """Why there was no probe on the binary that a process ran by then, by pid."""


def stat_fields(line: bytes) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on; the second, the name, may hold anything in its parentheses."""
    return line.rpartition(b")")[2].split()


def reported_processes(values: Iterable[bytes]) -> dict[int, TracedProcess | None]:
    """Return the processes that records of the trace's script report on, by pid; None for one that has ended."""
    processes: dict[int, TracedProcess | None] = {}
    for value in values:
        # PID, a blank, and /proc/PID/stat, which is empty where there is no such process.
        pid = re.match(rb"\d{1,10}(?= )", value)
        if pid is None:
            continue
        fields = stat_fields(value)
        alive = len(fields) > 19 and _NUMBER.fullmatch(fields[19]) and fields[0] not in _DEAD
        processes[int(pid[0])] = TracedProcess(start=int(fields[19])) if alive else None
    return processes


def children_s(stat: bytes) -> float | None:
    """CPU seconds of the children that a process has waited for, from its /proc/PID/stat (cutime and cstime, proc(5),
    in ticks that are 10 ms on every architecture that bpftrace runs on)."""
    fields = stat_fields(stat)
    ticks = [int(field) for field in fields[13:15] if field.isdigit() and len(field) < 19]
    return sum(ticks) / 100 if len(ticks) == 2 else None
