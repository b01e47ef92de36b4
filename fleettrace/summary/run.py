"""What a run found: its hosts, their instances, how each was traced and what became of it.

These values are what the sweep produces and what reports and the store consume. None stands for "not known".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from fleettrace.errors import HostState
from fleettrace.summary.fleet import FleetSummary
from fleettrace.summary.key import Key

__all__ = [
    "Container",
    "Coverage",
    "Failure",
    "HostResult",
    "InstanceResult",
    "ProbeVerdict",
    "RunInfo",
    "RunResult",
    "TracingCost",
    "Warn",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: a stable word for scripts, and a sentence that says what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Something the reader of the report should know. `host` is None when it is about the whole run."""

    code: str
    message: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """The container a process runs in, as far as the node could say."""

    runtime: str
    id: str
    name: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """Which rung of the ladder an instance is traced on, and why not a better one."""

    probe_kind: str | None
    """`item`, `usdt`, `command`, `syscall`, `watch`; None when no rung works."""
    exact: bool
    symbol: str | None = None
    offset: int | None = None
    """Bytes from the function's first instruction to the probe."""
    overlay: bool = False
    cost: float | None = None
    """Microseconds of CPU that the traced process pays per request: predicted, or measured where no model predicts."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class TracingCost:
    """What a trace cost, as measured: microseconds of CPU of the traced process per request, and of bpftrace."""

    before_us: float | None = None
    during_us: float | None = None
    tracer_cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What memcached itself counted over the window, against what was traced."""

    counted: int
    traced: int

    @property
    def share(self) -> float | None:
        """The part of the traffic that the trace saw; None when there was no traffic.

        At the most 1: there are requests that memcached does not count (node/stats.sh).
        """
        return min(1.0, self.traced / self.counted) if self.counted else None


@dataclass(slots=True)
class InstanceResult:
    """One memcached process and what its trace gave."""

    pid: int
    state: HostState
    exe: str
    probe: ProbeVerdict
    container: Container | None = None
    version: str | None = None
    build_id: str | None = None
    ports: tuple[int, ...] = ()
    user: str | None = None
    window_s: float | None = None
    """Seconds the probe really was in place."""
    requests: int | None = None
    absent: int | None = None
    error: Failure | None = None
    cost: TracingCost | None = None
    coverage: Coverage | None = None


@dataclass(slots=True)
class HostResult:
    """One host of the run."""

    host: str
    state: HostState
    error: Failure | None = None
    instances: list[InstanceResult] = field(default_factory=list)
    top: list[tuple[Key, int]] = field(default_factory=list)
    """The host's own hottest keys, most first: what is left of its summary after it went into the fleet's."""
    timeline: list[int] = field(default_factory=list)

    @property
    def requests(self) -> int | None:
        """Requests traced on the host; None when none of its instances was traced."""
        known = [instance.requests for instance in self.instances if instance.requests is not None]
        return sum(known) if known else None

    @property
    def rate(self) -> float | None:
        """Requests per second, each instance over its own window."""
        rates = [
            instance.requests / instance.window_s
            for instance in self.instances
            if instance.requests is not None and instance.window_s
        ]
        return sum(rates) if rates else None

    @property
    def complete(self) -> bool:
        """Whether nothing of the host's traffic in the window is missing."""
        return self.state.complete


@dataclass(slots=True)
class RunInfo:
    """What the run was. Times are in UTC."""

    id: str
    started: datetime
    pattern: str
    duration_s: float
    version: str
    bucket_s: float = 1.0
    """Seconds in one bucket of every timeline."""
    finished: datetime | None = None
    options: str = ""
    """The options that decide what is counted and where, as JSON: runs with others are not alike."""


@dataclass(slots=True)
class RunResult:
    """Everything a report is made from."""

    info: RunInfo
    hosts: list[HostResult] = field(default_factory=list)
    fleet: FleetSummary = field(default_factory=FleetSummary)
    warnings: list[Warn] = field(default_factory=list)
    stopped: str | None = None
    """Why the run ended early: `interrupted`, `terminated`, `deadline`, or `enough` (by the user, with all results)."""

    @property
    def incomplete_hosts(self) -> list[HostResult]:
        """The hosts that some or all traffic is missing of: while there are any, no bound on the fleet is closed."""
        return [host for host in self.hosts if not host.complete]
