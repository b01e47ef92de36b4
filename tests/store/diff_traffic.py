"""Random fleets and windows of their traffic: skewed, bursty, with memory, of several lengths, with hosts that failed
and with keys that slices omitted. The true rates are known, so a comparison can be checked against them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import exp, log, sqrt

from fleettrace.errors import HostState
from fleettrace.store.history.model import StoredRun, StoredTemplate, stored_run
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.fleet import hottest
from fleettrace.summary.key import Key
from fleettrace.summary.run import Failure, HostResult, InstanceResult, ProbeVerdict, RunInfo, RunResult

__all__ = ["Fleet", "random_fleet", "traffic_run", "window"]

_STARTED = datetime(2026, 9, 21, 3, 0, 0, tzinfo=UTC)
_TOP_PER_HOST = 100
_EXACT = ProbeVerdict("item", True, "do_item_get", 0)


@dataclass(frozen=True)
class Fleet:
    """The parameters of a fleet's traffic."""

    hosts: int
    rate: float
    """Requests per second of all hosts."""
    weights: tuple[float, ...]
    """Relative rate of each key, the hottest first."""
    places: tuple[int, ...]
    """The host of each key; -1: all hosts."""
    bursts: tuple[float, ...]
    """Relative standard deviation of each key's rate from one second to the next, without counting noise."""
    memory: float = 0.0
    """Correlation with the next second."""
    swing: float = 0.0
    """The same for the rate of the whole fleet."""
    printed: int = 10_000
    """Keys that a host lists in a second."""
    names: tuple[bytes, ...] = field(default=())

    @property
    def keys(self) -> tuple[Key, ...]:
        """Names of the hosts."""
        return tuple(map(Key.whole, self.names or (b"user:%d:profile" % n for n in range(len(self.weights)))))


def random_fleet(rng: random.Random, *, keys: int = 400, rate: float | None = None) -> Fleet:
    """Return a random fleet of up to a dozen hosts."""
    hosts = rng.randint(1, 12)
    skew = rng.uniform(0.7, 1.2)
    most = rng.choice([0.0, 0.1, 0.3, 0.5])
    return Fleet(
        hosts=hosts,
        rate=rate or rng.choice([5e3, 5e4, 3e5]),
        weights=tuple((rank + 1) ** -skew for rank in range(keys)),
        places=tuple(rng.randrange(hosts) if rng.random() < 0.9 else -1 for _ in range(keys)),
        bursts=tuple(rng.choice([0.0, 0.0, most / 3, most]) for _ in range(keys)),
        memory=rng.choice([0.0, 0.3, 0.6]),
        swing=rng.choice([0.0, 0.05, 0.15]),
        printed=rng.choice([10_000, 10_000, keys // (2 * hosts) + 20]),
    )


def window(
    fleet: Fleet,
    rng: random.Random,
    *,
    seconds: int = 10,
    failed: Sequence[int] = (),
    times: Mapping[int, float] | None = None,
    places: Mapping[int, int] | None = None,
    name: str = "run",
    after: timedelta = timedelta(0),
) -> StoredRun:
    """Return a window of traffic as a stored run; see `traffic_run`."""
    run = traffic_run(
        fleet, rng, seconds=seconds, failed=failed, times=times, places=places, name=name, started=_STARTED + after
    )
    return stored_run(run, [_family(run)])


def traffic_run(
    fleet: Fleet,
    rng: random.Random,
    *,
    seconds: int = 10,
    failed: Sequence[int] = (),
    times: Mapping[int, float] | None = None,
    places: Mapping[int, int] | None = None,
    name: str = "run",
    started: datetime = _STARTED,
    host_names: Mapping[int, str] | None = None,
) -> RunResult:
    """Return a window of traffic as a run.

    Hosts in `failed` cannot be reached; the rate of key n is `times[n]` of the usual one, and it is on host
    `places[n]`. Only the hosts in `host_names` are in the run; the default is all, as `cache-0` and so on.
    """
    swing = _wander(rng, fleet.swing, fleet.memory, seconds)
    rates = [fleet.rate * weight / sum(fleet.weights) for weight in fleet.weights]
    rates = [rate * (times or {}).get(index, 1.0) for index, rate in enumerate(rates)]
    counts: list[dict[Key, list[int]]] = [{} for _ in range(fleet.hosts)]
    for index, (key, rate) in enumerate(zip(fleet.keys, rates, strict=True)):
        burst = _wander(rng, fleet.bursts[index], fleet.memory, seconds)
        place = (places or {}).get(index, fleet.places[index])
        on = range(fleet.hosts) if place < 0 else (place,)
        for host in on:
            means = [rate * burst[second] * swing[second] / len(on) for second in range(seconds)]
            counts[host][key] = [_poisson(rng, mean) for mean in means]
    run = RunResult(RunInfo(name, started, "all", seconds, "0.1.0", 1.0, started + timedelta(seconds=seconds)))
    for host, called in (host_names or {number: f"cache-{number}" for number in range(fleet.hosts)}).items():
        if host in failed:
            run.hosts.append(HostResult(called, HostState.UNREACHABLE, Failure("connect", "no route")))
        else:
            _add(run, called, _summary(counts[host], seconds, fleet.printed), seconds)
    return run


def _summary(counts: Mapping[Key, list[int]], seconds: int, printed: int) -> Summary:
    """Return a host's summary over slices of a second, each with its `printed` largest counts."""
    whole = Summary()
    for second in range(seconds):
        here = sorted(((timeline[second], key) for key, timeline in counts.items() if timeline[second]), reverse=True)
        total = sum(count for count, _ in here)
        left_out = sum(count for count, _ in here[printed:])
        absent = min(left_out, here[printed - 1][0]) if left_out else 0
        pad = [0] * second
        keys = {key: KeyCount(count, absent, timeline=[*pad, count]) for count, key in here[:printed]}
        whole.add(Summary(total, absent, keys, [*pad, total]))
    return whole


def _add(run: RunResult, host: str, summary: Summary, seconds: int) -> None:
    instance = InstanceResult(1, HostState.OK, "/usr/bin/memcached", _EXACT, ports=(11211,), window_s=seconds)
    instance.requests, instance.absent = summary.total, summary.absent
    run.fleet.add_host(run.info.id, host, {"1": summary})
    run.hosts.append(
        HostResult(host, HostState.OK, None, [instance], hottest(summary, _TOP_PER_HOST), list(summary.timeline))
    )


def _family(run: RunResult) -> StoredTemplate:
    """Return the family of all keys except the ten hottest."""
    timeline = [0] * len(run.fleet.timeline)
    requests = members = 0
    for key, known in run.fleet.keys.items():
        if known.count is not None and len(key.data) > len(b"user:9:profile"):
            members += 1
            requests += known.count.requests
            for second, count in enumerate(known.count.timeline):
                timeline[second] += count
    return StoredTemplate("user:{}:profile", requests, members, None, tuple(timeline))


def _wander(rng: random.Random, deviation: float, memory: float, seconds: int) -> list[float]:
    """Return factors of a rate around 1: log-normal, with correlated logarithms of successive seconds."""
    if not deviation:
        return [1.0] * seconds
    variance = log(1 + deviation**2)
    value = rng.gauss(0, 1)
    multiples = []
    for _ in range(seconds):
        multiples.append(exp(sqrt(variance) * value - variance / 2))
        value = memory * value + sqrt(1 - memory**2) * rng.gauss(0, 1)
    return multiples


def _poisson(rng: random.Random, mean: float) -> int:
    """Return a Poisson number; from 50 on by the normal distribution."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, sqrt(mean))))
    number, product, least = 0, rng.random(), exp(-mean)
    while product > least:
        number += 1
        product *= rng.random()
    return number
