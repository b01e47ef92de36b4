"""Which of a node's obstacles a sweep warns of: in a run, in `check`, and beside a failure."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.app.check import warning_lines
from fleettrace.errors import HostState
from fleettrace.summary.run import Coverage, Failure, HostResult, InstanceResult, ProbeVerdict, Warn
from fleettrace.sweep.host import make_approximate, node_warnings
from tests.node.test_trace_obstacles import ABLE

FACTS = replace(ABLE, kernel="6.16.3", preemption="full", btf=False, headers=False)


def test_a_run_warns_of_what_bears_on_its_counts() -> None:
    result = HostResult("a", HostState.OK)
    assert [warning.code for warning in node_warnings("a", FACTS, result, every=False)] == ["preemptible-kernel"]


def test_check_and_a_failed_host_warn_of_everything_once() -> None:
    codes = [warning.code for warning in node_warnings("a", FACTS, HostResult("a", HostState.OK), every=True)]
    assert codes == ["preemptible-kernel", "no-kernel-types"]
    failed = HostResult("a", HostState.UNSUPPORTED, Failure("no-kernel-types", ""))
    assert [warning.code for warning in node_warnings("a", FACTS, failed, every=True)] == ["preemptible-kernel"]


def test_counts_of_a_preemptible_kernel_certify_nothing() -> None:
    probe = ProbeVerdict("item", exact=True)
    instance = InstanceResult(1, HostState.OK, "memcached", probe, coverage=Coverage(9, 9))
    make_approximate(HostResult("a", HostState.OK, None, [instance]))
    assert (instance.probe.exact, instance.coverage) == (False, None)


def test_check_prints_equal_warnings_once_with_their_hosts() -> None:
    warnings = [Warn("x", "slow", "cache-1"), Warn("x", "slow", "cache-2"), Warn("y", "late")]
    assert warning_lines(warnings) == ["cache-[1-2]: slow", "late"]
