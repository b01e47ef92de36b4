"""The common window of a detached run: its moment, how far apart it started, and the hosts' clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.errors import ConfigError, FleettraceError, HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.detach import NodeClock
from fleettrace.node.model import Discovery
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.run import Coverage, Failure, HostResult, InstanceResult, ProbeVerdict, Warn
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.claims import UNPROVEN
from fleettrace.sweep.detach_model import Detach, DetachedTrace
from fleettrace.sweep.detached import DetachedTracer, lead_s, skew_warnings
from fleettrace.sweep.events import WindowsStarted, ignore
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.tracer import EndOfRun, TracerContext
from fleettrace.transport.interface import Connection, Target
from tests.sweep.fakes import FakeTransport
from tests.sweep.test_detach_file import TRACE

CLOCK = NodeClock(100.0, 0.2, 5_000_000_000, 7.0, 0.1)


def end_of(moments: dict[str, float], skew_s: float | None = 0.1) -> EndOfRun:
    """Return what a run reports of itself when its windows started at these moments."""
    context = TracerContext(SweepSettings(), TraceSettings(10.0), BinaryCatalog(None), Cancellation(), ignore)
    tracer = DetachedTracer(context, Detach(60.0), 0.0, AttachedTracer(context))
    for host, moment in moments.items():
        trace = replace(TRACE, host=host, clock=replace(CLOCK, skew_s=skew_s))
        tracer.window_started(trace, CLOCK.monotonic_at(moment))
    return tracer.finish()


def test_node_clock_converts_moments_both_ways() -> None:
    assert CLOCK.monotonic_at(101.5) == 6_500_000_000
    assert CLOCK.controllers(6_500_000_000) == 101.5
    assert CLOCK.uptime_at(90.0) == -3.0


def test_windows_that_start_together_cause_no_warning() -> None:
    end = end_of({"a": 100.0, "b": 100.25, "c": 100.125})
    assert end == EndOfRun([WindowsStarted(3, 0.25, 0.4, 0.1)], [])


def test_windows_that_start_apart_cause_a_warning() -> None:
    end = end_of({"a": 100.0, "b": 103.5}, None)
    assert end.events == [WindowsStarted(2, 3.5, 0.4, 0.0)]
    assert [(one.code, one.host) for one in end.warnings] == [("windows-apart", None)]
    assert "3.5 s" in end.warnings[0].message


def test_run_without_a_window_reports_nothing() -> None:
    assert end_of({}) == EndOfRun()


@pytest.mark.parametrize(
    ("skew_s", "message"),
    [
        (3.25, "its clock is 3.2 s ahead of the controller's"),
        (-90.0, "its clock is 90.0 s behind the controller's"),
        (1.1, None),
        (None, None),
    ],
)
def test_clock_that_is_surely_wrong_causes_a_warning(skew_s: float | None, message: str | None) -> None:
    warnings = skew_warnings("a", replace(CLOCK, skew_s=skew_s))
    assert [(one.code, one.host, one.message) for one in warnings] == (
        [("clock-skew", "a", message)] if message else []
    )


def resumed(transport: FakeTransport, host: str) -> HostOutcome:
    """Return the outcome of an attempt in a run that resumes one with a trace on the host `plain`."""
    context = TracerContext(SweepSettings(), TraceSettings(10.0), BinaryCatalog(None), Cancellation(), ignore)
    detach = Detach(60.0, resumed={"plain": TRACE}, resumable=True)
    tracer = DetachedTracer(context, detach, 0.0, AttachedTracer(context))
    return tracer.run(HostTask(host, Target(host), transport))


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (HostError(HostState.UNREACHABLE, "connection-refused", "refused"), "connection-refused", True),
        (HostError(HostState.AUTH_FAILED, "auth-failed", "denied"), "auth-failed", False),
        (ConfigError("ProxyJump leads to itself"), "ssh-config", False),
    ],
)
def test_failed_login_leaves_the_trace_for_resume(error: FleettraceError, code: str, retryable: bool) -> None:
    class Refusing(FakeTransport):
        def note(self, name: str, what: str) -> None:
            if (name, what) == ("plain", "connect"):
                raise error
            super().note(name, what)

    outcome = resumed(Refusing(), "plain")
    assert outcome.result.error is not None
    assert (outcome.result.error.code, outcome.retryable) == (code, retryable)
    assert "--resume" in outcome.result.error.message


def test_resumed_run_traces_other_hosts_at_once() -> None:
    assert resumed(FakeTransport(), "other").result.state is HostState.NO_INSTANCES


class Found(DetachedTracer):
    """Leaves a trace, and finds things out about its host that concern the report."""

    def _probe(self, task: HostTask, connection: Connection, discovery: Discovery) -> HostOutcome:  # noqa: ARG002
        self._pending[task.name] = TRACE
        instance = InstanceResult(
            7, HostState.OK, "memcached", ProbeVerdict("item", exact=True, why="because; and more")
        )
        result = HostResult(task.name, HostState.PARTIAL, Failure("memcached-unreadable", "no"), [instance])
        return HostOutcome(result, warnings=[Warn(UNPROVEN, "two", task.name)], again_in_s=1.0)

    def _collect(self, task: HostTask, pending: DetachedTrace) -> HostOutcome:  # noqa: ARG002
        probe = ProbeVerdict("item", exact=True)
        instance = InstanceResult(7, HostState.OK, "memcached", probe, coverage=Coverage(9, 9))
        return HostOutcome(HostResult(task.name, HostState.OK, None, [instance]))


def test_findings_before_the_window_reach_the_report() -> None:
    context = TracerContext(SweepSettings(), TraceSettings(10.0), BinaryCatalog(None), Cancellation(), ignore)
    left: list[DetachedTrace] = []
    tracer = Found(context, Detach(60.0, on_left=left.append), 0.0, AttachedTracer(context))
    task = HostTask("plain", Target("plain"), FakeTransport())
    assert tracer.run(task).again_in_s == 1.0
    assert [one.plan and one.plan.verdict.why for one in left[0].planned] == ["because; and more", None]

    later = Found(context, Detach(60.0, resumed={"plain": left[0]}), 0.0, AttachedTracer(context))
    for outcome in (tracer.run(task), later.run(task)):
        assert [warning.code for warning in outcome.warnings] == [UNPROVEN]
        assert outcome.result.error is not None
        assert (outcome.result.state, outcome.result.error.code) == (HostState.PARTIAL, "memcached-unreadable")
        (instance,) = outcome.result.instances
        assert (instance.probe.exact, instance.coverage) == (False, None)


def test_lead_leaves_time_for_every_host() -> None:
    assert 15 < lead_s(1) < 30
    assert 60 < lead_s(500) < 90
