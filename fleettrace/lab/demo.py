"""The demo's fleet: seven hosts that show what the tool is for, under traffic with a few things to find in it.

One key is hot on one host, one is warm everywhere, one family is hot with no hot member, and one key appears late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import BackgroundLoad, Flow
from fleettrace.lab.profile import WEB
from fleettrace.lab.specs import HostSpec, Reach, container, two

__all__ = ["FAMILY", "FLEET", "HOT", "HOT_HOST", "LATE", "WARM", "Demo", "demo_lab"]

FLEET = (
    HostSpec("cache-001"),
    HostSpec("cache-002"),
    HostSpec("cache-003"),
    HostSpec("cache-004", two()),
    HostSpec("cache-005", container()),
    HostSpec("cache-006", ()),
    HostSpec("cache-007", reach=Reach.DOWN),
)
HOT, HOT_HOST = b"product:4711:stock", "cache-002"
"""Hot on one host: a third of that host's requests."""
WARM = b"config:feature-flags"
"""Warm on every host."""
FAMILY = "session:{n}:cart"
"""A family with a fifth of all requests, none of its 3,000 members with more than a few."""
LATE = b"news:breaking"
"""Appears late, everywhere at once."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo's fleet and the load on it. `load.stop()` gives the truth."""

    lab: Lab
    load: BackgroundLoad


@contextmanager
def demo_lab(*, seconds: float = 60.0, rate: float = 500.0, late_at: float = 8.0, seed: int = 1) -> Iterator[Demo]:
    """The demo's fleet with about `rate` requests per second on each instance, for `seconds` at the most.

    The late key appears `late_at` seconds after the traffic has begun. Leaving the block ends traffic and fleet.
    Raises `FleettraceError`.
    """
    common = replace(
        WEB,
        hot={WARM: 0.04},
        late={LATE: 0.15},
        late_after=min(1.0, late_at / seconds),
        hot_family=FAMILY,
        hot_family_share=0.2,
        hot_family_keys=3000,
    )
    hot = replace(common, hot={WARM: 0.04, HOT: 0.33})
    with Lab(FLEET) as lab:
        flows = [
            Flow(place, lab.hosts[place.host].address, hot if place.host == HOT_HOST else common, rate)
            for place in lab.places()
        ]
        yield Demo(lab, lab.start_load(flows, seconds, seed=seed))
