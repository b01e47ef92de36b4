"""The settings of a sweep: one value for the run, and one task for each host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleettrace.node.model import Instance
from fleettrace.probes.model import ProbeOptions
from fleettrace.sweep.waves import WaveSize
from fleettrace.transport.endpoint.model import PortTarget
from fleettrace.transport.interface import Target, Transport

if TYPE_CHECKING:
    from fleettrace.sweep.detach_model import Detach

__all__ = [
    "FLEET_KEYS",
    "MOST_CLIENTS",
    "TIMELINE_BUCKETS",
    "HostTask",
    "SweepSettings",
    "keys_per_host",
    "printed_entries",
]

FLEET_KEYS = 100_000
"""Keys of the fleet in memory, the most requested ones; up to half as many more between two cuts. A key takes up to
1.2 KB."""
MOST_CLIENTS = 10_000
"""Pairs of an asked key and a client in the result of each host, the most requested ones."""
_KEYS_AT_ONCE = 200_000
"""Keys of all the hosts that are being traced at once."""


TIMELINE_BUCKETS = 60
"""Number of buckets in a timeline, at most; none is shorter than a second."""


@dataclass(frozen=True, slots=True)
class HostTask:
    """One host to sweep."""

    name: str
    target: Target
    transport: Transport
    bpftrace: tuple[str, ...] = ("bpftrace",)
    """The command that runs bpftrace there, word by word."""
    scope: str = "host"
    """`host`, or `netns`: only processes in the network namespace of the login."""
    selects: Callable[[Instance], bool] = field(default=lambda _instance: True)
    """Returns whether to trace an instance."""
    ports: tuple[int, ...] = ()
    """The ports that `fleettrace_instances` selects."""
    endpoint: PortTarget | None = None
    """The memcached port to ask in place of a login."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What to do on every host, and how many at once. Durations are in seconds."""

    duration_s: float = 10.0
    forks: int = 64
    serial: tuple[WaveSize, ...] = ()
    """The sizes of the waves; none: one wave with all hosts."""
    max_fail: float | None = None
    """The share of the started hosts that may fail; past it, no further host is started. None: `waves.abort_reason`."""
    retries: int = 2
    """Retries after a transient login failure."""
    options: ProbeOptions = field(default_factory=ProbeOptions)
    """What every probe must deliver."""
    trace: bool = True
    """False: log in, find instances, plan probes, and stop there (`fleettrace check`)."""
    max_cost: float = 0.5
    """The share of one core that a probe may take from an instance. Where it takes more, the window is shortened."""
    allow_preemptible: bool = False
    """Trace also on preemptible kernels with private stacks (6.13 and later), where counts certify no key."""
    deadline_s: float | None = 300.0
    ask: bool = True
    """Ask memcached after the window about the hottest keys of each host: their size, and when they expire."""
    ask_get: bool = False
    """Fetch the value of each of them where memcached has no command to ask with."""
    top_per_host: int = 100
    """Keys of each host in the report, besides those of the fleet."""
    bucket_s: float = 1.0
    """Seconds in one bucket of a timeline."""
    detach: Detach | None = None
    """Leave the traces on the hosts, with one window for all, and collect them later."""


def printed_entries(hosts: int) -> int:
    """Return how many entries of a slice each host prints, so that at most 100,000 arrive in a second: parsing those
    takes about 0.1 s. The report bounds what is cut off."""
    return max(200, min(2000, 100_000 // max(1, hosts)))


def keys_per_host(hosts: int, forks: int) -> int:
    """Return how many keys of each host stay in memory, so that the memory for all hosts being traced is bounded."""
    return max(1000, min(50_000, _KEYS_AT_ONCE // max(1, min(hosts, forks))))
