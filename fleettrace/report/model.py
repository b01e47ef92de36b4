"""The report as a value, computed once from the result of a run; every format shows it.

Formats do not calculate, so all of them show the same numbers. None stands for "not known", as in the run itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleettrace.errors import HostState
from fleettrace.report.clients import Clients
from fleettrace.report.imbalance import Cause
from fleettrace.report.items import ByBytes, Sort
from fleettrace.report.miss_cause import MissCause
from fleettrace.report.timeline import Trend
from fleettrace.summary.items import ItemFacts
from fleettrace.summary.key import Key
from fleettrace.summary.run import Coverage, Failure, InstanceResult, RunInfo, Warn

__all__ = ["HostRow", "KeyRow", "Report", "Spread", "TemplateRow", "TopHost", "Totals"]


class Spread(StrEnum):
    """The part of the fleet that has a key. Each value needs a different cure."""

    ONE = "one"
    """Nearly all requests go to one host: split the key, or cache it in the clients."""
    SEVERAL = "several"
    EVERYWHERE = "everywhere"
    """Nearly every host has it: it is replicated already, so request it less often."""


@dataclass(frozen=True, slots=True)
class TopHost:
    """The host on which a key is hottest."""

    host: str
    requests: int
    share: float | None
    """The key's fraction of all requests to that host, 0 to 1."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key of the top n."""

    key: Key
    requests: int
    """Lower bound of its requests."""
    requests_max: int
    """Upper bound of its requests on the traced hosts."""
    share: float | None
    """Fraction of the fleet's requests, 0 to 1."""
    rate: float | None
    """Requests per second: its share of the fleet's rate."""
    certified: bool
    ops: dict[str, int] | None
    misses: int | None
    value_bytes: int | None
    """Bytes of the values written."""
    item: ItemFacts
    """What memcached reported about it after the window, on its hottest host that knows it."""
    bytes_out: int | None
    """Estimated bytes of the values sent to clients: hits times the size of the value."""
    out_rate: float | None
    """The same per second."""
    unknown: str | None
    """Why `item` or `bytes_out` is unknown."""
    hosts: int
    """Hosts that listed it."""
    spread: Spread
    top_host: TopHost | None
    timeline: tuple[int, ...]
    trend: Trend | None
    miss_cause: MissCause | None = None
    """Why it was missed; None where more than one cause is possible."""
    clients: Clients | None = None
    """None if no host counted by client (`--clients`)."""

    @property
    def exact(self) -> bool:
        """Whether its requests on the traced hosts are known exactly."""
        return self.requests == self.requests_max


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A family of keys, found automatically or defined by the user. Its members can also be among the keys."""

    template: str
    """Its name, such as `user:{}:profile`. It is made of keys, so escape it like one."""
    requests: int
    share: float | None
    rate: float | None
    keys: int
    """Distinct members."""
    hottest: int | None
    """Requests of its hottest member. If far below `requests`, the family is hot without a hot member."""


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
    """Its rate divided by the mean of the traced hosts."""
    cause: Cause | None
    """The cause if the host is hot, else None."""
    instances: tuple[InstanceResult, ...]
    top: tuple[tuple[Key, int], ...]
    """Its hottest keys, most first."""
    timeline: tuple[int, ...]
    coverage: Coverage | None
    clients: Clients | None = None
    """None if it did not count by client (`--clients`)."""

    @property
    def traced(self) -> bool:
        """Whether any of its traffic is in the report."""
        return self.requests is not None


@dataclass(frozen=True, slots=True)
class Totals:
    """The numbers of the whole fleet."""

    hosts: int
    """Hosts selected."""
    hosts_ok: int
    hosts_traced: int
    """Hosts with traffic in the report: those that are ok, and those that are partial."""
    instances: int
    """Instances found."""
    instances_traced: int
    requests: int | None
    rate: float | None
    certified: int
    """Keys of the report that are provably in the top n."""
    absent: int | None
    """The most requests that any unlisted key can have had on the traced hosts."""
    distinct: int
    """Distinct keys listed, a lower bound."""
    window_s: tuple[float, float] | None
    """The shortest and the longest window of an instance, in seconds."""
    coverage: Coverage | None
    """Over all traced instances; None if it is unknown for one of them."""
    coverage_unknown: tuple[str, ...]
    """Hosts with unknown coverage."""
    imbalance: float | None
    """The load of the hottest host."""
    tracer_cpu_s: float | None
    """CPU time of bpftrace on all hosts with a measurement, in seconds."""
    timeline: tuple[int, ...]
    missing: tuple[str, ...]
    """Hosts with incomplete or absent data."""


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one run, or of several merged ones."""

    info: RunInfo
    top: int
    """The requested number of keys."""
    totals: Totals
    keys: tuple[KeyRow, ...]
    templates: tuple[TemplateRow, ...]
    hosts: tuple[HostRow, ...]
    """In the order of the run."""
    warnings: tuple[Warn, ...]
    by_bytes: ByBytes | None = None
    """The key that sends most bytes, where the order by requests hides it."""
    sort: Sort = Sort.REQUESTS
    """The order of the keys."""
