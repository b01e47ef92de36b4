"""The result of a host's trace, and the errors of a trace that attached nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleettrace.errors import HostError, HostState
from fleettrace.node.client_counts import ClientCounts
from fleettrace.node.samples import ClassSample, Sample
from fleettrace.summary.counts import Summary
from fleettrace.summary.host_clients import HostClients
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
]

REFUSED = "program-refused"
"""The error code of a trace with a program that the kernel's verifier, or bpftrace itself, refused."""
OVERWRITTEN = "binary-overwritten"
"""The error code, also printed by guard.pl, of a trace that ended because a traced binary was to be overwritten."""
SLOW_START = "slow-start"
"""The error code of a bpftrace that did not begin within its bound."""
UNSTOPPABLE = "bpftrace-unstoppable"
"""The error code, also printed by input.sh, of a bpftrace command that only SIGKILL ends."""
NOT_ATTACHED = ("attach-failed", "probes-missing")
"""The error codes of a trace that attached not all of its probes, and so traced nothing."""


class AttachError(HostError):
    """bpftrace did not attach every probe. `gone` has the pids of planned processes that have ended."""

    def __init__(self, code: str, message: str, gone: frozenset[int] = frozenset()) -> None:
        super().__init__(HostState.TRACE_FAILED, code, message)
        self.gone = gone


class ProgramRefusedError(HostError):
    """The node's kernel refused a program. `reason` is the verifier's if its log was printed (`logged`), else
    bpftrace's."""

    def __init__(self, reason: str, *, logged: bool = True) -> None:
        super().__init__(HostState.TRACE_FAILED, REFUSED, f"its kernel refused the program: {reason}")
        self.reason = reason
        self.logged = logged


@dataclass(slots=True)
class TraceEnd:
    """The result of a trace."""

    complete: bool
    """The program ended itself at the end of its window."""
    broken: bool
    """The output ends before the trace."""
    window_s: float
    """Seconds from the start of the counting to the end of the last slice, on the node's clock."""
    summaries: dict[int, Summary]
    """By pid. Every traced process has one; its total is 0 without requests."""
    alive: set[int]
    """The pids of planned processes that still run the same binary."""
    implausible: set[int]
    """The pids of processes with impossible keys: the probe is on a wrong instruction, and its counts are invalid."""
    undecided: set[int] = field(default_factory=set)
    """The pids of processes with too many requests of unknown kind (`--ops`)."""
    start_ns: int = 0
    """When the counting began, on the node's monotonic clock."""
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    """By pid, in order, on the same clock."""
    classes: dict[int, tuple[ClassSample, ClassSample]] = field(default_factory=dict)
    """By pid: the first and the last of the evictions by class."""
    overfull: bool = False
    """The map of a program of the user's own was full."""
    tracer_cpu_s: float | None = None
    error_text: str = ""
    """The error of the connection, or bpftrace's own messages."""
    refused: dict[int, Failure] = field(default_factory=dict)
    """The reasons why processes were not traced, by pid."""
    client_counts: ClientCounts | None = None
    """The requests by client as the program printed them (`--clients`); None if it printed none."""
    clients: dict[int, HostClients] = field(default_factory=dict)
    """The same by pid, with names of clients."""
