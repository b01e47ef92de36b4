"""Which host carries more than its part, and what makes it so.

The load of a host is its rate against the mean of the hosts that were traced. For a host well over the mean every key,
and every family of keys, is asked: where would the load be if the whole fleet had never been asked for it? The one
that brings the host nearest to the mean is the cause. A key that is as hot everywhere moves the mean with it and
explains nothing, which is right. Nor is a host hot that merely runs more instances than the others: where none of them
is over the mean of an instance, that is said instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from heapq import nlargest
from statistics import fmean
from typing import NamedTuple, Protocol

from fleettrace.summary.fleet import FleetSummary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult

__all__ = ["HOT", "Cause", "CauseKind", "Families", "find_causes", "loads"]

HOT = 1.5
"""Times the mean from which on a host is called hot, and a cause is looked for."""

_EXPLAINS = 0.5
"""Part of the excess over the mean that a key or a family has to explain to be named."""

_KEY_FIRST = 0.1
"""Part of the excess by which a family must explain more than a single key to be named instead of it."""

_REMAINDER = 0.05
"""Part of the fleet's traffic that must be left without the key or family: nothing can be said about less."""

_HOT_HOSTS = 8
"""Hosts that a cause is looked for on, the hottest ones: more would be read by nobody, and it takes time."""


_KEYS_TRIED = 64
"""Keys of a host that are tried as its cause, the hottest ones. To explain half of an excess of 0.5 and more a key must
have about a sixth of the host's traffic, and no more than six can have that."""


class CauseKind(StrEnum):
    """What makes a host hot."""

    KEY = "key"
    TEMPLATE = "template"
    INSTANCES = "instances"
    """It runs more instances than other hosts do, each about as busy as theirs."""
    NEITHER = "neither"
    """Many keys of many families: more traffic in general, or more keys than the others have."""


class Cause(NamedTuple):
    """Why a host is over the mean."""

    kind: CauseKind
    key: Key | None
    template: str | None
    load_without: float | None
    """Times the mean that the host would be at without the key or family, or that it is at by instance; None when
    nothing is the cause."""


class Families(Protocol):
    """The families of keys that were found: `fleettrace.report.templates.Templates`, to this module."""

    def of(self, key: bytes) -> str | None:
        """The family of a key."""
        ...


class _Candidate(NamedTuple):
    key: Key | None
    template: str | None
    here: float
    """Requests per second on the host, and in the whole fleet."""
    everywhere: float


_Without = Callable[[_Candidate], float | None]
"""The load of a host without a candidate; None when too little of the fleet's traffic would be left."""


def loads(rates: Mapping[str, float]) -> dict[str, float]:
    """Each host's rate as a multiple of the mean of all `rates`; empty when there is nothing to compare."""
    mean = fmean(rates.values()) if len(rates) > 1 else 0.0
    return {host: rate / mean for host, rate in rates.items()} if mean else {}


def find_causes(
    hosts: Sequence[HostResult],
    fleet: FleetSummary,
    families: Families | None = None,
    family_requests: Mapping[str, int] | None = None,
) -> dict[str, Cause]:
    """The cause for each hot host, the hottest few.

    `family_requests` has the requests of the whole fleet for every family that may be named.
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
    """Each host's rate by instance as a multiple of the fleet's rate by instance."""
    instances = {host.host: sum(one.requests is not None for one in host.instances) for host in hosts}
    rates = {host.host: host.rate for host in hosts if host.rate is not None}
    mean = sum(rates.values()) / sum(instances[host] for host in rates) if rates else 0.0
    return {host: rate / instances[host] / mean for host, rate in rates.items()} if mean else {}


def _counts_by_host(hosts: Sequence[HostResult], fleet: FleetSummary) -> dict[str, dict[Key, int]]:
    """What is known of each host's own counts: every key that is hottest there, and the host's own top."""
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
        left = everything - candidate.everywhere
        return max(rate - candidate.here, 0.0) * len(rates) / left if left > _REMAINDER * everything else None

    tried = nlargest(_KEYS_TRIED, counts.items(), key=lambda item: (item[1], item[0]))
    keys = [candidate(key, None, here, _fleet_requests(fleet, key)) for key, here in tried]
    templates = [candidate(None, family, here, everywhere) for family, (here, everywhere) in families.items()]
    key, template = _nearest(keys, without), _nearest(templates, without)
    excess = load - 1
    named = key
    if template is not None and (key is None or abs(template[1] - 1) + _KEY_FIRST * excess < abs(key[1] - 1)):
        named = template
    left = excess if named is None else abs(named[1] - 1)
    unexplained = (1 - _EXPLAINS) * excess
    if load > by_instance and by_instance - 1 <= unexplained and abs(by_instance - 1) + _KEY_FIRST * excess < left:
        return Cause(CauseKind.INSTANCES, None, None, by_instance)
    if named is None or left > unexplained:
        return Cause(CauseKind.NEITHER, None, None, None)
    best, load_without = named
    kind = CauseKind.KEY if best.key is not None else CauseKind.TEMPLATE
    return Cause(kind, best.key, best.template, load_without)


def _fleet_requests(fleet: FleetSummary, key: Key) -> int:
    known = fleet.keys.get(key)
    return 0 if known is None or known.count is None else known.count.requests


def _nearest(candidates: Iterable[_Candidate], without: _Without) -> tuple[_Candidate, float] | None:
    """The candidate without which the host would be nearest to the mean."""
    tried = [(candidate, load) for candidate in candidates if (load := without(candidate)) is not None]
    return min(
        tried, key=lambda item: (abs(item[1] - 1), item[0].key or (b"", 0), item[0].template or ""), default=None
    )


def _family_sums(
    counts: Mapping[Key, int], families: Families | None, everywhere: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """The requests of each family's members among `counts`, and in the whole fleet."""
    here: dict[str, int] = {}
    for key, requests in counts.items() if families is not None else ():
        family = families.of(key.data) if families is not None and not key.truncated else None
        if family is not None and family in everywhere:
            here[family] = here.get(family, 0) + requests
    return {family: (requests, max(everywhere[family], requests)) for family, requests in here.items()}
