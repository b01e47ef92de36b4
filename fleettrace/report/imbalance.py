"""Find overloaded hosts and the cause of their load.

The load of a host is its rate divided by the mean rate of the traced hosts. For a host well over the mean, this module
computes for every key and family of keys the load without their requests in the whole fleet. The one that brings the
host nearest to the mean is the cause. A key that is equally hot everywhere also moves the mean, so it explains nothing.
If a host only runs more instances than others, each with a normal load, the number of instances is the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from heapq import nlargest
from math import fsum
from typing import NamedTuple, Protocol

from fleettrace.summary.fleet import FleetSummary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult

__all__ = ["HOT", "Cause", "CauseKind", "Families", "find_causes", "loads"]

HOT = 1.5
"""From this load on, a host is hot, and its cause is searched."""

_EXPLAINS = 0.5
"""A cause must explain at least this part of the excess over the mean."""

_KEY_FIRST = 0.1
"""A family must explain more than a single key by at least this part of the excess."""

_REMAINDER = 0.05
"""At least this part of the fleet's traffic must remain without the key or family, else its effect is unknown."""

_HOT_HOSTS = 8
"""The number of hosts, the hottest ones, for which a cause is searched, because the search takes time."""

_KEYS_TRIED = 64
"""The number of keys, the hottest ones of a host, that are tried as its cause. To explain half of an excess of 0.5, a
key must have about a sixth of the host's traffic, and at most six keys can have that."""


class CauseKind(StrEnum):
    """The kind of cause of a hot host."""

    KEY = "key"
    TEMPLATE = "template"
    INSTANCES = "instances"
    """It runs more instances than other hosts, each with about the same load."""
    NEITHER = "neither"
    """No single key or family: more traffic in general, or more keys than on other hosts."""


class Cause(NamedTuple):
    """The cause of a hot host."""

    kind: CauseKind
    key: Key | None
    template: str | None
    load_without: float | None
    """The load of the host without the key or family, or its load per instance; None for `neither`."""


class Families(Protocol):
    """The families of keys (implemented by `fleettrace.report.templates.Templates`)."""

    def of(self, key: bytes) -> str | None:
        """Return the family of a key, None for none."""
        ...


class _Candidate(NamedTuple):
    key: Key | None
    template: str | None
    here: float
    """Requests per second on the host."""
    everywhere: float
    """Requests per second in the whole fleet."""


_Without = Callable[[_Candidate], float | None]
"""Returns the load of a host without a candidate; None when too little of the fleet's traffic would remain."""


def loads(rates: Mapping[str, float]) -> dict[str, float]:
    """Return each host's rate divided by the mean of all `rates`; empty for fewer than two hosts."""
    mean = fsum(rates.values()) / len(rates) if len(rates) > 1 else 0.0
    return {host: rate / mean for host, rate in rates.items()} if mean else {}


def find_causes(
    hosts: Sequence[HostResult],
    fleet: FleetSummary,
    families: Families | None = None,
    family_requests: Mapping[str, int] | None = None,
) -> dict[str, Cause]:
    """Return the cause for each of the hottest hosts that are hot.

    `family_requests` has the requests in the whole fleet for every family that can be a cause.
    """
    rates = {host.host: host.rate for host in hosts if host.rate is not None}
    load = loads(rates)
    hot = sorted((host for host in load if load[host] >= HOT), key=lambda host: (-load[host], host))[:_HOT_HOSTS]
    if not hot or not fleet.total:
        return {}
    by_name = {host.host: host for host in hosts}
    counts = _counts_by_host([by_name[host] for host in hot], fleet)
    known = family_requests if families is not None and family_requests is not None else {}
    by_instance = _loads_by_instance(hosts)
    causes = {}
    for host in hot:
        sums = _family_sums(counts[host], families, known)
        causes[host] = _cause(by_name[host], counts[host], rates, fleet, sums, by_instance[host])
    return causes


def _loads_by_instance(hosts: Sequence[HostResult]) -> dict[str, float]:
    """Return each host's rate per instance divided by the fleet's rate per instance."""
    instances = {host.host: sum(one.requests is not None for one in host.instances) for host in hosts}
    rates = {host.host: host.rate for host in hosts if host.rate is not None}
    mean = sum(rates.values()) / sum(instances[host] for host in rates) if rates else 0.0
    return {host: rate / instances[host] / mean for host, rate in rates.items()} if mean else {}


def _counts_by_host(hosts: Sequence[HostResult], fleet: FleetSummary) -> dict[str, dict[Key, int]]:
    """Return the known counts of each host: every key that is hottest there, and the host's own top."""
    counts: dict[str, dict[Key, int]] = {host.host: {} for host in hosts}
    for key, known in fleet.keys.items():
        mine = counts.get(known.top_host)
        if mine is not None:
            mine[key] = known.top_requests
    for host in hosts:
        counts[host.host].update(host.top)
    return counts


def _cause(
    host: HostResult,
    counts: Mapping[Key, int],
    rates: Mapping[str, float],
    fleet: FleetSummary,
    families: Mapping[str, tuple[int, int]],
    by_instance: float,
) -> Cause:
    rate, everything = rates[host.host], sum(rates.values())
    load = rate * len(rates) / everything
    here_s = rate / host.requests if host.requests else 0.0
    fleet_s = everything / fleet.total

    def candidate(key: Key | None, template: str | None, here: int, everywhere: int) -> _Candidate:
        elsewhere = max(everywhere - here, 0) * fleet_s
        return _Candidate(key, template, here * here_s, here * here_s + elsewhere)

    def without(candidate: _Candidate) -> float | None:
        remaining = everything - candidate.everywhere
        return max(rate - candidate.here, 0.0) * len(rates) / remaining if remaining > _REMAINDER * everything else None

    tried = nlargest(_KEYS_TRIED, counts.items(), key=lambda item: (item[1], item[0]))
    keys = [candidate(key, None, here, _fleet_requests(fleet, key)) for key, here in tried]
    templates = [candidate(None, family, here, everywhere) for family, (here, everywhere) in families.items()]
    key, template = _nearest(keys, without), _nearest(templates, without)
    excess = load - 1
    named = key
    if template is not None and (key is None or abs(template[1] - 1) + _KEY_FIRST * excess < abs(key[1] - 1)):
        named = template
    remaining_excess = excess if named is None else abs(named[1] - 1)
    unexplained = (1 - _EXPLAINS) * excess
    if (
        load > by_instance
        and by_instance - 1 <= unexplained
        and abs(by_instance - 1) + _KEY_FIRST * excess < remaining_excess
    ):
        return Cause(CauseKind.INSTANCES, None, None, by_instance)
    if named is None or remaining_excess > unexplained:
        return Cause(CauseKind.NEITHER, None, None, None)
    best, load_without = named
    kind = CauseKind.KEY if best.key is not None else CauseKind.TEMPLATE
    return Cause(kind, best.key, best.template, load_without)


def _fleet_requests(fleet: FleetSummary, key: Key) -> int:
    known = fleet.keys.get(key)
    return 0 if known is None or known.count is None else known.count.requests


def _nearest(candidates: Iterable[_Candidate], without: _Without) -> tuple[_Candidate, float] | None:
    """Return the candidate without which the host is nearest to the mean, and its load then."""
    tried = [(candidate, load) for candidate in candidates if (load := without(candidate)) is not None]
    return min(
        tried, key=lambda item: (abs(item[1] - 1), item[0].key or (b"", 0), item[0].template or ""), default=None
    )


def _family_sums(
    counts: Mapping[Key, int], families: Families | None, everywhere: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Return the requests of each family's members among `counts`, and in the whole fleet."""
    here: dict[str, int] = {}
    for key, requests in counts.items() if families is not None else ():
        family = families.of(key.data) if families is not None and not key.truncated else None
        if family is not None and family in everywhere:
            here[family] = here.get(family, 0) + requests
    return {family: (requests, max(everywhere[family], requests)) for family, requests in here.items()}
