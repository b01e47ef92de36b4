"""What happens in a sweep, as typed events: displays, logs and live views subscribe, and the engine prints nothing.

All events are delivered from one thread, in order for each host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleettrace.errors import HostState
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import HostResult, RunResult

__all__ = [
    "Event",
    "HostFinished",
    "HostProgressed",
    "HostStarted",
    "Listener",
    "Phase",
    "RunFinished",
    "RunStarted",
    "SliceArrived",
    "StopRequested",
    "WaveFinished",
    "WaveStarted",
    "ignore",
]


class Phase(StrEnum):
    """What a host is busy with."""

    CONNECT = "connect"
    DISCOVER = "discover"
    PLAN = "plan"
    ATTACH = "attach"
    TRACE = "trace"


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
class SliceArrived:
    """A slice of a host, by instance."""

    host: str
    slices: Mapping[str, Summary]


@dataclass(frozen=True, slots=True)
class HostFinished:
    """A host is done, one way or the other."""

    host: str
    state: HostState
    result: HostResult


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The sweep ends early: what is being traced is collected, the rest is left."""

    reason: str


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
    | SliceArrived
    | HostFinished
    | StopRequested
    | RunFinished
)

Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """The listener that hears nothing."""
