"""The demo's fleet: seven hosts, and traffic with patterns for the report to show.

One key is hot on one host, one is warm on every host, one family is hot though none of its keys is, one key appears
late, and one large value sends most bytes with few requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import BackgroundLoad, Flow
from fleettrace.lab.profile import WEB, Profile
from fleettrace.lab.specs import HostSpec, Reach, container, two
from fleettrace.lab.truth import Truth

__all__ = ["FAMILY", "FLEET", "HOT", "HOT_HOST", "LARGE", "LATE", "WARM", "Demo", "demo_lab"]

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
"""Two thirds of the requests of `HOT_HOST`, which therefore has three times the traffic of the other hosts."""
WARM = b"config:feature-flags"
"""A key that is warm on every host."""
FAMILY = "session:{n}:cart"
"""A family with more than a quarter of all requests; each of its 3,000 keys has only a few."""
LATE = b"news:breaking"
"""A key that appears late, on all hosts at once."""
_LATE_SHARE = 0.2
LARGE, LARGE_HOST = b"page:home", "cache-004"
"""A key with few requests on one host, and most of the bytes sent."""
_LARGE_BYTES = 90_000
_LARGE_SHARE = 0.08


@dataclass(slots=True)
class Demo:
    """The demo's fleet and its traffic."""

    lab: Lab
    _flows: Sequence[Flow]
    _seconds: float
    _seed: int
    _loads: list[BackgroundLoad] = field(default_factory=list)

    def begin(self) -> None:
        """Start the traffic."""
        self._loads.append(self.lab.start_load(self._flows, self._seconds, seed=self._seed))

    def begin_late(self) -> None:
        """Add requests for the late key to the traffic."""
        news = Profile(verbs={"get": 1}, families=(), keys=0, hot={LATE: 1.0})
        flows = [replace(flow, profile=news, rate=_LATE_SHARE * flow.rate) for flow in self._flows]
        self._loads.append(self.lab.start_load(flows, self._seconds, seed=self._seed))

    def stop(self) -> Truth:
        """Stop the traffic and return the requests that were sent."""
        truth = Truth()
        for load in self._loads:
            truth.update(load.stop())
        return truth

    @property
    def errors(self) -> list[str]:
        """Return the errors of the traffic; complete after it has ended."""
        return [error for load in self._loads for error in load.errors]


@contextmanager
def demo_lab(*, seconds: float = 60.0, rate: float = 500.0, seed: int = 1) -> Iterator[Demo]:
    """Yield the demo's fleet with about `rate` requests per second on each instance, for at most `seconds`.

    `Demo.begin_late` starts the requests for the late key. Leaving the block ends traffic and fleet. Raises
    `FleettraceError`.
    """
    common = replace(WEB, hot={WARM: 0.05}, hot_family=FAMILY, hot_family_share=0.4, hot_family_keys=3000)
    hot = replace(common, hot={WARM: 0.05 / 3, HOT: 2 / 3}, hot_family_share=0.4 / 3)
    with Lab(FLEET) as lab:
        flows = [
            Flow(
                instance,
                lab.hosts[instance.host].address,
                *((hot, 3 * rate) if instance.host == HOT_HOST else (common, rate)),
            )
            for instance in lab.instances()
        ]
        page = Profile({"get": 49, "set": 1}, families=(), keys=0, hot={LARGE: 1.0}, value_size=_LARGE_BYTES)
        large = next(flow for flow in flows if flow.instance.host == LARGE_HOST)
        flows.append(replace(large, profile=page, rate=_LARGE_SHARE * rate))
        demo = Demo(lab, flows, seconds, seed)
        demo.begin()
        yield demo
