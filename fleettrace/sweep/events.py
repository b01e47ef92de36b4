"""What happens in a sweep, as typed events: displays, logs and live views subscribe, and the engine prints nothing.

All events are delivered from one thread, in order for each host.
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
    """What a host is busy with."""

    CONNECT = "connect"
    DISCOVER = "discover"
    PLAN = "plan"
    ATTACH = "attach"
    TRACE = "trace"
    LEAVE = "leave"
    """A trace is left on the host for its moment; nobody is logged in to it then."""
    COLLECT = "collect"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The sweep begins. `seconds` is the window asked for."""

    run: str
    hosts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WaveStarted:
    """A wave of hosts begins; waves count from 1."""

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
    """Work on a host begins."""

    host: str


@dataclass(frozen=True, slots=True)
class HostProgressed:
    """A host is in a new phase."""

    host: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class HostRetried:
    """A login failed in a way that may pass, and will be tried again in `pause_s` seconds. Attempts count from 1."""

    host: str
    attempt: int
    failure: Failure
    pause_s: float


@dataclass(frozen=True, slots=True)
class InstanceStarted:
    """Requests of one memcached process are being counted."""

    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class SliceArrived:
    """A slice of a host, by instance; where the listeners are slow, several slices in one."""

    host: str
    slices: Mapping[str, Summary]


@dataclass(frozen=True, slots=True)
class InstanceFinished:
    """What became of one memcached process; told before its host is done."""

    host: str
    result: InstanceResult


@dataclass(frozen=True, slots=True)
class HostFinished:
    """A host is done, one way or the other. A listener that keeps the summaries keeps all of the fleet's data."""

    host: str
    state: HostState
    result: HostResult
    summaries: Mapping[str, Summary] = field(default_factory=dict)
    """By instance id."""
    warnings: Sequence[Warn] = ()
    traceback: str = ""
    """Of the exception that ended the work on the host, where nothing expects it."""


@dataclass(frozen=True, slots=True)
class HostsSkipped:
    """Too many hosts failed: those that were not begun are left alone. Each is told of as a host that is done."""

    wave: int
    hosts: int
    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The sweep ends early: what is being traced is collected, the rest is left."""

    reason: str


@dataclass(frozen=True, slots=True)
class WindowsStarted:
    """Of a run with one window for all: how far apart it really began on this many hosts, in seconds, with `within_s`
    that this is not known better than; and the largest difference between a host's clock and the controller's."""

    hosts: int
    spread_s: float
    within_s: float
    skew_s: float


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


def ignore(_event: Event) -> None:
    """The listener that hears nothing."""


def broadcast(*listeners: Subscriber) -> Subscriber:
    """One listener for several, in this order."""
    heard = [subscriber for subscriber in listeners if subscriber is not ignore]
    if not heard:
        return ignore

    def tell(event: Event) -> None:
        for subscriber in heard:
            subscriber(event)

    return tell
