"""The scripted fleet: what its traffic, its hosts and its controller are like in one hour."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import pi, sin

from fleettrace.summary.run import Coverage, RunInfo, RunResult
from tests.store.diff_traffic import Fleet, traffic_run

__all__ = ["FLEET", "START", "Conditions", "key", "swept"]

START = datetime(2026, 9, 1, tzinfo=UTC)

_KEYS = 120
FLEET = Fleet(
    hosts=6,
    rate=15_000,
    weights=tuple((rank + 1) ** -0.9 for rank in range(_KEYS)),
    places=tuple(rank % 6 for rank in range(_KEYS)),
    bursts=tuple((0.0, 0.05, 0.1, 0.05)[rank % 4] for rank in range(_KEYS)),
    memory=0.3,
    swing=0.05,
)
_DAILY_SWING = 0.5
"""The rate of a day's busiest hour is three times that of the quietest."""


def key(place: int) -> str:
    """Return the name of the key at this place."""
    return FLEET.keys[place].data.decode()


@dataclass
class Conditions:
    """What differs from the ordinary in one hour; `plant` changes it."""

    times: dict[int, float] = field(default_factory=dict)
    """Factors of keys' rates. The keys of the last ten places do not exist in the ordinary month."""
    places: dict[int, int] = field(default_factory=dict)
    """Other hosts of keys."""
    rate: float = 1.0
    """The factor of the whole traffic."""
    down: set[int] = field(default_factory=set)
    """Unreachable hosts."""
    coverage: float = 0.9995
    names: dict[int, str] = field(default_factory=dict)
    """Other names of hosts in the inventory."""
    hosts: int = 5
    """Hosts that the inventory has."""
    clock: timedelta = timedelta(0)
    """How far the controller's clock is ahead."""
    store: str = "ok"
    """`garbage` or `full`: the history cannot be used."""
    playbook: dict[str, str] = field(default_factory=dict)
    """Edits of the playbook: text, replacement."""
    inventory: str = "fleet.yaml"

    @property
    def host_names(self) -> dict[int, str]:
        """Return the name of each host of the inventory, by number."""
        return {number: self.names.get(number, f"cache-{number}") for number in range(self.hosts)}


def swept(conditions: Conditions, hour: int, seed: int, info: RunInfo) -> RunResult:
    """Return what a sweep in this hour gives: the hours of a day have different rates."""
    daily = 1 + _DAILY_SWING * sin(2 * pi * hour / 24)
    weights = tuple(
        weight * (place < _KEYS - 10 or place in conditions.times) for place, weight in enumerate(FLEET.weights)
    )
    fleet = replace(
        FLEET, rate=FLEET.rate * daily * conditions.rate * sum(weights) / sum(FLEET.weights), weights=weights
    )
    rng = random.Random(f"{seed} {hour}")
    run = traffic_run(
        fleet,
        rng,
        seconds=round(info.duration_s),
        failed=sorted(conditions.down),
        times=conditions.times,
        places=conditions.places,
        name=info.id,
        host_names=conditions.host_names,
    )
    run.info = info
    numbers = {name: number for number, name in conditions.host_names.items()}
    for host in run.hosts:
        number = numbers[host.host]
        host.marks = (f"address {number}", f"boot {number}") if number not in conditions.down else ()
        for instance in host.instances:
            traced = instance.requests or 0
            instance.coverage = Coverage(round(traced / conditions.coverage), traced)
    return run
