"""The events of a sweep, to which displays, logs and live views subscribe; the engine itself prints nothing.

One thread delivers all events, those of each host in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fleettrace.errors import HostState
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure, HostResult, InstanceResult, RunResult, Warn

__all__ = [
    "Event",
    "HostFinished",
    "HostProgressed",
    "HostRetried",
    "HostStarted",
    "HostsSkipped",
    "InstanceFinished",
    "InstanceStarted",
    "Phase",
    "RunFinished",
    "RunStarted",
    "SliceArrived",
    "StopRequested",
    "Subscriber",
    "WaveFinished",
    "WaveStarted",
    "WindowsStarted",
    "broadcast",
    "ignore",
]


class Phase(StrEnum):
    """What is being done on a host."""

    CONNECT = "connect"
    DISCOVER = "discover"
    PLAN = "plan"
    ATTACH = "attach"
    TRACE = "trace"
    LEAVE = "leave"
    """A trace was left on the host for the agreed moment; no login is open until it is collected."""
    COLLECT = "collect"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The sweep starts. `run` is its id, `duration_s` the window requested."""

    run: str
    hosts: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class WaveStarted:
    """A wave of hosts starts; waves count from 1."""

    wave: int
    waves: int
    hosts: int


@dataclass(frozen=True, slots=True)
class WaveFinished:
    """All hosts of a wave are done."""

    wave: int
    waves: int
    failed: int


@dataclass(frozen=True, slots=True)
class HostStarted:
    """Work on a host starts."""

    host: str


@dataclass(frozen=True, slots=True)
class HostProgressed:
    """A host enters a phase."""

    host: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class HostRetried:
    """A login failed for a reason that may pass; the next attempt is in `pause_s` seconds. Attempts count from 1."""

    host: str
    attempt: int
    failure: Failure
    pause_s: float


@dataclass(frozen=True, slots=True)
class InstanceStarted:
    """Counting starts for one memcached instance."""

    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class SliceArrived:
    """A slice of a host, by instance id; where the subscribers are slow, several slices merged into one."""

    host: str
    slices: Mapping[str, Summary]


@dataclass(frozen=True, slots=True)
class InstanceFinished:
    """The result of one memcached instance; emitted before its host is done."""

    host: str
    result: InstanceResult


@dataclass(frozen=True, slots=True)
class HostFinished:
    """A host is done, complete or not. A subscriber that stores the summaries stores the data of the whole fleet."""

    host: str
    state: HostState
    result: HostResult
    summaries: Mapping[str, Summary] = field(default_factory=dict)
    """By instance id."""
    warnings: Sequence[Warn] = ()
    traceback: str = ""
    """The traceback of an unexpected exception that ended the work on the host, for the log and `-v`; else empty."""


@dataclass(frozen=True, slots=True)
class HostsSkipped:
    """Too many hosts failed, so no further host is started. `HostFinished` follows for each skipped host."""

    wave: int
    hosts: int
    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The sweep ends early: running traces print what they have, and the other hosts are not traced."""

    reason: str


@dataclass(frozen=True, slots=True)
class WindowsStarted:
    """How far apart the windows of a run with `--detach` really started. Emitted at the end of the run."""

    hosts: int
    spread_s: float
    """Seconds from the first start to the last one."""
    accuracy_s: float
    """How exactly `spread_s` is known."""
    skew_s: float
    """The largest difference between a host's clock and the controller's."""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The sweep is over."""

    result: RunResult


Event = (
    RunStarted
    | WaveStarted
    | WaveFinished
    | HostStarted
    | HostProgressed
    | HostRetried
    | InstanceStarted
    | SliceArrived
    | InstanceFinished
    | HostFinished
    | HostsSkipped
    | StopRequested
    | WindowsStarted
    | RunFinished
)

Subscriber = Callable[[Event], None]
"""Is called with every event."""


def ignore(_event: Event) -> None:
    """Ignore the event."""


def broadcast(*subscribers: Subscriber) -> Subscriber:
    """Return one subscriber that passes each event to several, in this order."""
    active = [subscriber for subscriber in subscribers if subscriber is not ignore]
    if not active:
        return ignore

    def deliver(event: Event) -> None:
        for subscriber in active:
            subscriber(event)

    return deliver
