"""The result of a run: its hosts, their instances, how each was traced, and how that ended.

The sweep produces these values; reports and the store consume them. None stands for "not known".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from fleettrace.errors import HostState
from fleettrace.summary.fleet import FleetSummary
from fleettrace.summary.host_clients import HostClients
from fleettrace.summary.host_stats import HostStats
from fleettrace.summary.items import ItemFacts
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
    """An error: a stable code for scripts, and a message with the cause and the cure."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Warn:
    """A warning in the report. `host` is None when it is about the whole run."""

    code: str
    message: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """The container of a process, as far as the node reported it."""

    runtime: str
    id: str
    name: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """The probe kind selected for an instance, and why no better one was possible."""

    probe_kind: str | None
    """`item`, `usdt`, `command`, `syscall`, `watch`; None when no probe kind works."""
    exact: bool
    symbol: str | None = None
    offset: int | None = None
    """Bytes from the function's first instruction to the probe."""
    overlay: bool = False
    cost: float | None = None
    """CPU time of the traced process per request, in microseconds: predicted, or measured if no model predicts it."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class TracingCost:
    """The measured cost of a trace: CPU time of the traced process per request (us) before and during, and of bpftrace
    (s)."""

    before_us: float | None = None
    during_us: float | None = None
    tracer_cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Requests by memcached's own counters over the window, and requests traced."""

    counted: int
    traced: int

    @property
    def share(self) -> float | None:
        """The traced part of the traffic, at most 1; None when there was no traffic.

        memcached does not count every request (node/stats.sh), so `traced` can be larger than `counted`.
        """
        return min(1.0, self.traced / self.counted) if self.counted else None


@dataclass(slots=True)
class InstanceResult:
    """One memcached process and the result of its trace."""

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
    """Seconds during which the probe was attached."""
    requests: int | None = None
    absent: int | None = None
    error: Failure | None = None
    cost: TracingCost | None = None
    coverage: Coverage | None = None
    stats: HostStats | None = None
    """memcached's own stats over the window; None where the run did not ask."""


@dataclass(slots=True)
class HostResult:
    """One host of the run."""

    host: str
    state: HostState
    error: Failure | None = None
    instances: list[InstanceResult] = field(default_factory=list)
    top: list[tuple[Key, int]] = field(default_factory=list)
    """The host's hottest keys, most first: the part of its summary that remains after it was merged into the
    fleet's."""
    timeline: list[int] = field(default_factory=list)
    items: dict[Key, ItemFacts] = field(default_factory=dict)
    """What memcached reported about keys of `top` after the window."""
    clients: HostClients | None = None
    """Requests by client; None if they were not counted (`--clients`)."""
    marks: tuple[str, ...] = ()
    """Hashes of its address and of its boot id, by which a renamed host is recognized."""

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
        """Whether none of the host's traffic in the window is missing."""
        return self.state.complete


@dataclass(slots=True)
class RunInfo:
    """Identity, time and options of a run. Times are in UTC."""

    id: str
    started: datetime
    pattern: str
    duration_s: float
    version: str
    bucket_s: float = 1.0
    """Seconds in one bucket of every timeline."""
    finished: datetime | None = None
    options: str = ""
    """The options that decide what is counted and where, as JSON. Runs with different ones are not comparable."""


@dataclass(slots=True)
class RunResult:
    """The input of a report."""

    info: RunInfo
    hosts: list[HostResult] = field(default_factory=list)
    fleet: FleetSummary = field(default_factory=FleetSummary)
    warnings: list[Warn] = field(default_factory=list)
    stopped: str | None = None
    """Why the run ended early: `interrupted`, `terminated`, `deadline`, or `enough` (by the user, with all results)."""

    @property
    def incomplete_hosts(self) -> list[HostResult]:
        """The hosts with incomplete or absent data. While there are any, no upper bound for the fleet is known."""
        return [host for host in self.hosts if not host.complete]
