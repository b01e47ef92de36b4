"""The report as a value: what every format shows, computed once from what a run found.

Formats only write; they calculate nothing, so that the same run has the same numbers in each of them. None stands for
"not known" here as in the run itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleettrace.errors import HostState
from fleettrace.report.imbalance import Cause
from fleettrace.report.timeline import Trend
from fleettrace.summary.key import Key
from fleettrace.summary.run import Coverage, Failure, InstanceResult, RunInfo, Warn

__all__ = ["HostRow", "KeyRow", "Report", "Spread", "TemplateRow", "TopHost", "Totals"]


class Spread(StrEnum):
    """On how much of the fleet a key is: each has a cure of its own."""

    ONE = "one"
    """Nearly all its requests go to one host: split the key, or keep a copy in the clients."""
    SEVERAL = "several"
    EVERYWHERE = "everywhere"
    """Every host has it in about equal parts: it is replicated already, so ask for it less often."""


@dataclass(frozen=True, slots=True)
class TopHost:
    """The host on which a key is hottest."""

    host: str
    requests: int
    share: float | None
    """The key's part of all requests of that host, 0 to 1."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key of the top n."""

    key: Key
    requests: int
    """The fewest requests that it can have had."""
    requests_max: int
    """The most requests that it can have had on the hosts that were traced."""
    share: float | None
    """Part of the fleet's requests, 0 to 1."""
    rate: float | None
    """Requests per second: its share of the fleet's rate."""
    certified: bool
    ops: dict[str, int] | None
    misses: int | None
    value_bytes: int | None
    """Bytes of the values that were written."""
    bytes_out: int | None
    """Bytes sent to clients, estimated: the gets that hit, times the mean size of the values written."""
    hosts: int
    """Hosts that it was listed on."""
    spread: Spread
    top_host: TopHost | None
    timeline: tuple[int, ...]
    trend: Trend | None

    @property
    def exact(self) -> bool:
        """Whether its requests are known exactly, on the hosts that were traced."""
        return self.requests == self.requests_max


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A family of keys, found by itself or given by the user. Its members may be among the keys as well."""

    template: str
    """Its name, such as `user:{}:profile`: made of keys, so to be escaped like one."""
    requests: int
    share: float | None
    rate: float | None
    keys: int
    """Its members that were seen."""
    hottest: int | None
    """Requests of its hottest member; far below `requests` the family is hot with no hot member."""


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host of the run."""

    host: str
    state: HostState
    error: Failure | None
    requests: int | None
    rate: float | None
    share: float | None
    load: float | None
    """Its rate as a multiple of the mean of the hosts traced."""
    cause: Cause | None
    """What makes it hot; None when it is not."""
    instances: tuple[InstanceResult, ...]
    top: tuple[tuple[Key, int], ...]
    """Its own hottest keys, most first."""
    timeline: tuple[int, ...]
    coverage: Coverage | None

    @property
    def traced(self) -> bool:
        """Whether any of its traffic is in the report."""
        return self.requests is not None


@dataclass(frozen=True, slots=True)
class Totals:
    """The fleet in a few numbers."""

    hosts: int
    """Hosts selected."""
    hosts_ok: int
    hosts_traced: int
    """Hosts with traffic in the report: those that are ok, and the traced part of those that are partly so."""
    instances: int
    """Instances found."""
    instances_traced: int
    requests: int | None
    rate: float | None
    certified: int
    """Keys of the report that are in the top n for sure."""
    absent: int | None
    """The most requests that a key not seen at all can have had on the hosts traced."""
    distinct: int
    """Keys seen: at least so many there are."""
    window_s: tuple[float, float] | None
    """Seconds the probes were in place, on the instance with the shortest and with the longest window."""
    coverage: Coverage | None
    """Over all traced instances; None where that of one is not known."""
    coverage_unknown: tuple[str, ...]
    """Hosts on which it is not known how much of the traffic the trace saw."""
    imbalance: float | None
    """The load of the hottest host, as a multiple of the mean."""
    tracer_cpu_s: float | None
    """CPU time of bpftrace on all hosts, as far as measured, in seconds."""
    timeline: tuple[int, ...]
    missing: tuple[str, ...]
    """Hosts that some or all traffic is missing of."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one run, or several merged, say of the fleet."""

    info: RunInfo
    top: int
    """How many keys were asked for."""
    totals: Totals
    keys: tuple[KeyRow, ...]
    templates: tuple[TemplateRow, ...]
    hosts: tuple[HostRow, ...]
    """In the order of the run."""
    warnings: tuple[Warn, ...]
