"""What a sweep is asked to do: one value for the run, one task for each host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fleettrace.node.model import Instance
from fleettrace.probes.model import ProbeOptions
from fleettrace.sweep.detach_model import Detach
from fleettrace.sweep.waves import WaveSize
from fleettrace.transport.interface import Target, Transport

__all__ = ["FLEET_KEYS", "TIMELINE_BUCKETS", "HostTask", "SweepSettings", "kept_keys", "printed_entries"]

FLEET_KEYS = 100_000
"""Keys of the fleet that are kept, the most requested ones; half as many more for a while. A key takes up to 1.2 KB."""
_KEYS_AT_ONCE = 200_000
"""Keys of all the hosts that are at work at once."""


TIMELINE_BUCKETS = 60
"""Number of buckets in a timeline, at most; none is shorter than a second."""


@dataclass(frozen=True, slots=True)
class HostTask:
    """One host to sweep."""

    name: str
    target: Target
    transport: Transport
    bpftrace: tuple[str, ...] = ("bpftrace",)
    """The words of the command that runs bpftrace there."""
    scope: str = "host"
    """`host`, or `netns`: only processes in the session's own network namespace."""
    selects: Callable[[Instance], bool] = field(default=lambda _instance: True)
    """Which instances of the host to trace."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What to do on every host, and how many at once. Durations are in seconds."""

    duration_s: float = 10.0
    forks: int = 64
    serial: tuple[WaveSize, ...] = ()
    """The sizes of the waves; none: all hosts in one."""
    max_fail: float | None = None
    """The share of the hosts begun that may fail; past it no further host is begun. None: see `waves.excess`."""
    retries: int = 2
    """How often a login that failed is tried again, where that can help."""
    options: ProbeOptions = field(default_factory=ProbeOptions)
    """What every probe is to give."""
    trace: bool = True
    """False: log in, find instances, plan probes, and stop there (`fleettrace check`)."""
    max_cost: float = 0.5
    """The part of one core that a probe may take from an instance. Where it takes more, the window is shortened."""
    allow_preemptible: bool = False
    """Trace also on preemptible kernels with private stacks (6.13 and later), and certify nothing there."""
    deadline_s: float | None = 300.0
    top_per_host: int = 100
    """Keys of each host kept for the report, beside those that went into the fleet's summary."""
    bucket_s: float = 1.0
    """Seconds in one bucket of a timeline."""
    detach: Detach | None = None
    """One window for all hosts, whose traces are left there and collected later."""


def printed_entries(hosts: int) -> int:
    """How many entries of a slice each host prints, so that what arrives in a second stays below 100,000 entries: about
    a tenth of a second's parsing. What is cut off is bounded in the report."""
    return max(200, min(2000, 100_000 // max(1, hosts)))


def kept_keys(hosts: int, forks: int) -> int:
    """How many keys are kept of each host, so that what all hosts at work hold is bounded."""
    return max(1000, min(50_000, _KEYS_AT_ONCE // max(1, min(hosts, forks))))
