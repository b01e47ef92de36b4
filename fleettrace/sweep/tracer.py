"""The interface between the engine and a way of tracing hosts, and what every implementation is given.

`attached` holds a login open while bpftrace runs, `detached` leaves bpftrace on the host and collects its output later,
and `watch` reads memcached's own `watch` command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.run import Warn
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.claims import Claims
from fleettrace.sweep.events import Event, Subscriber
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.settings import HostTask, SweepSettings

__all__ = ["EndOfRun", "HostTracer", "TracerContext"]


@dataclass(frozen=True, slots=True)
class TracerContext:
    """What all attempts of one run share."""

    settings: SweepSettings
    bounds: TraceSettings
    catalog: BinaryCatalog
    cancellation: Cancellation
    emit: Subscriber
    """Takes the events of all hosts, from many threads."""
    slices: bool = True
    """Whether to emit `SliceArrived`: to build the summary of one slice takes as long as to count it."""
    claims: Claims = field(default_factory=Claims)
    run_id: str = ""
    """Written into the nodes' logs."""


@dataclass(frozen=True, slots=True)
class EndOfRun:
    """What a tracer adds to the run after its last host."""

    events: Sequence[Event] = ()
    warnings: Sequence[Warn] = ()


class HostTracer(Protocol):
    """Traces the hosts of one run. One object serves many threads."""

    def run(self, task: HostTask) -> HostOutcome:
        """Make one attempt at a host. A failure of the host is in the outcome; whatever this raises is a fault of
        fleettrace or exhaustion on the controller."""
        ...

    def finish(self) -> EndOfRun:
        """Return what is known of the run as a whole, when every host is done."""
        ...
