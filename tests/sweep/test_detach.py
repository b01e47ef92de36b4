"""What is said of windows that were to be one, and of clocks that are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.detach import NodeClock
from fleettrace.probes.model import TraceSettings
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.detach import DetachedSweep, lead_s, skew_warnings
from fleettrace.sweep.detach_model import Detach
from fleettrace.sweep.events import WindowsStarted, ignore
from fleettrace.sweep.settings import SweepSettings
from tests.sweep.test_detach_file import TRACE

CLOCK = NodeClock(100.0, 0.2, 5_000_000_000, 7.0, 0.1)


def swept(moments: dict[str, float], skew_s: float | None = 0.1) -> DetachedSweep:
    """A sweep whose windows began at these moments."""
    sweep = DetachedSweep(
        SweepSettings(),
        TraceSettings(10.0),
        BinaryCatalog(None),
        Cancellation(),
        ignore,
        detach=Detach(60.0),
        begins_at=0.0,
    )
    for host, moment in moments.items():
        sweep.began(replace(TRACE, host=host, clock=replace(CLOCK, skew_s=skew_s)), CLOCK.monotonic_at(moment))
    return sweep


def test_moments_of_a_node_are_moments_of_the_controller_s() -> None:
    assert CLOCK.monotonic_at(101.5) == 6_500_000_000
    assert CLOCK.controllers(6_500_000_000) == 101.5
    assert CLOCK.uptime_at(90.0) == -3.0


def test_windows_that_began_together_are_no_trouble() -> None:
    began, warnings = swept({"a": 100.0, "b": 100.25, "c": 100.125}).windows()
    assert began == WindowsStarted(3, 0.25, 0.4, 0.1)
    assert warnings == []


def test_windows_that_did_not_are_told_of() -> None:
    began, warnings = swept({"a": 100.0, "b": 103.5}, None).windows()
    assert began == WindowsStarted(2, 3.5, 0.4, 0.0)
    assert [(one.code, one.host) for one in warnings] == [("windows-apart", None)]
    assert warnings[0].message == "the windows of 2 hosts did not begin together but within 3.5 s"


def test_without_a_window_there_is_nothing_to_say() -> None:
    assert swept({}).windows() == (None, [])


@pytest.mark.parametrize(
    ("skew_s", "words"),
    [
        (3.25, "its clock is 3.2 s ahead of the controller's"),
        (-90.0, "its clock is 90.0 s behind the controller's"),
        (1.1, None),
        (None, None),
    ],
)
def test_a_clock_that_is_set_wrong_is_told_of(skew_s: float | None, words: str | None) -> None:
    told = skew_warnings("a", replace(CLOCK, skew_s=skew_s))
    assert [(one.code, one.host, one.message) for one in told] == ([("clock-skew", "a", words)] if words else [])


def test_the_moment_leaves_time_for_every_host() -> None:
    assert 15 < lead_s(1) < 30
    assert 60 < lead_s(500) < 90
