"""Which obstacles of a node cause a warning: in a run, in `check`, and after a failure."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.app.check import warning_lines
from fleettrace.errors import HostState
from fleettrace.summary.run import Coverage, Failure, HostResult, InstanceResult, ProbeVerdict, Warn
from fleettrace.sweep.host import add_warnings, node_warnings
from fleettrace.sweep.outcome import HostOutcome
from tests.node.test_trace_obstacles import ABLE

FACTS = replace(ABLE, kernel="6.16.3", preemption="full", btf=False, headers=False)


def test_run_warns_only_of_what_affects_counts() -> None:
    result = HostResult("a", HostState.OK)
    assert [warning.code for warning in node_warnings("a", FACTS, result, every=False)] == ["preemptible-kernel"]


def test_check_warns_of_every_obstacle_once() -> None:
    codes = [warning.code for warning in node_warnings("a", FACTS, HostResult("a", HostState.OK), every=True)]
    assert codes == ["preemptible-kernel", "no-kernel-types"]
    failed = HostResult("a", HostState.UNSUPPORTED, Failure("no-kernel-types", ""))
    assert [warning.code for warning in node_warnings("a", FACTS, failed, every=True)] == ["preemptible-kernel"]


def test_preemptible_kernel_makes_counts_approximate() -> None:
    probe = ProbeVerdict("item", exact=True)
    instance = InstanceResult(1, HostState.OK, "memcached", probe, coverage=Coverage(9, 9))
    add_warnings(HostOutcome(HostResult("a", HostState.OK, None, [instance])), [Warn("preemptible-kernel", "")])
    assert (instance.probe.exact, instance.coverage) == (False, None)


def test_check_folds_equal_warnings() -> None:
    warnings = [Warn("x", "slow", "cache-1"), Warn("x", "slow", "cache-2"), Warn("y", "late")]
    assert warning_lines(warnings) == ["cache-[1-2]: slow", "late"]
