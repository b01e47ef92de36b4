"""A trace leaves out and names what cannot be attached, and traces the rest of the host."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleettrace.errors import HostState
from fleettrace.lab.build import memcached_binary
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.binding import RefusedError
from fleettrace.node.discovery import discover
from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.planning import Planned, plan_instances
from fleettrace.node.trace_end import AttachError, TraceEnd
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, ProbePlan, TraceSettings
from fleettrace.probes.selection import preview
from fleettrace.summary.run import Failure
from fleettrace.sweep.exclusion import dropped, leaving_out
from fleettrace.sweep.outcome import outcome_of_plan
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import memcached


@dataclass(frozen=True)
class TracePlan:
    plans: Sequence[tuple[Instance, ProbePlan]]


def instance(pid: int, inode: str = "1:1", owner: int = 0) -> Instance:
    return Instance(pid, 5, NodeBinary(inode, 1, None, owner), b"/usr/bin/memcached", None, (), None)


def some(*instances: Instance) -> tuple[TracePlan, list[Planned]]:
    planned = [Planned(each, preview(ProbeOptions())) for each in instances]
    return TracePlan([(each.instance, each.plan) for each in planned if each.plan]), planned


START = "bpftrace did not start to trace: "
EVENT = "perf_event_open(/sys/kernel/tracing/events/uprobes/p__proc_8_exe_1_2/id): "
REFUSALS = (
    f"{START}{EVENT}Invalid argument / ERROR: Error attaching probe: uprobe:/proc/8/exe:268435455",
    f"{START}{EVENT}Unknown error 524 / ERROR: Error attaching probe: uretprobe:/proc/8/exe:do_item_get",
    f"{START}ERROR: Unable to attach probe: uprobe:/proc/8/exe:268435455. If this is expected, set",
    f"{START}ERROR: Error attaching probe: usdt:/proc/8/exe:memcached:command__get",
)


@pytest.mark.parametrize("message", REFUSALS)
def test_dropped_has_every_instance_of_a_refused_binary(message: str) -> None:
    trace_plan, _ = some(instance(7), instance(8, "1:2"), instance(9, "1:2"))
    out = dropped(AttachError("attach-failed", message), trace_plan.plans)
    assert {pid: failure.code for pid, failure in out.items()} == {8: "attach-refused", 9: "attach-refused"}


def test_dropped_has_only_ended_instances() -> None:
    trace_plan, _ = some(instance(7), instance(8))
    out = dropped(AttachError("attach-failed", REFUSALS[0], frozenset({7})), trace_plan.plans)
    assert {pid: failure.code for pid, failure in out.items()} == {7: "memcached-ended"}


@pytest.mark.parametrize(
    "message",
    [
        "bpftrace did not start to trace: ERROR: Could not resolve symbol: /proc/8/exe:nosuch, cannot attach probe.",
        "bpftrace did not start to trace: ERROR: uprobe target file '/proc/8/exe' does not exist or is not executable",
        "bpftrace attached 3 probes instead of 4",
    ],
)
def test_failure_of_no_single_instance_is_raised(message: str) -> None:
    trace_plan, planned = some(instance(7), instance(8))

    def attempt(_trace_plan: TracePlan, _planned: Sequence[Planned]) -> str:
        raise AttachError("attach-failed", message)

    with pytest.raises(AttachError):
        leaving_out(attempt, lambda _: "nothing", trace_plan, planned)


def test_attempts_end_when_no_instance_remains() -> None:
    trace_plan, planned = some(*(instance(pid, f"1:{pid}") for pid in range(1, 6)))
    tried = []

    def attempt(now: TracePlan, _planned: Sequence[Planned]) -> str:
        tried.append([each.pid for each, _ in now.plans])
        raise AttachError("attach-failed", REFUSALS[0].replace("/proc/8/", f"/proc/{tried[-1][0]}/"))

    def nothing_left(left: Sequence[Planned]) -> str:
        result = outcome_of_plan("here", left).result
        return f"{result.state} {len(result.instances)}"

    assert leaving_out(attempt, nothing_left, trace_plan, planned) == "trace-failed 5"
    assert tried == [[1, 2, 3, 4, 5], [2, 3, 4, 5], [3, 4, 5], [4, 5], [5]]


@pytest.mark.parametrize("why", ["attach-refused", "memcached-ended"])
@pytest.mark.parametrize(("root", "attempts"), [(1, 3), (0, 5)])
def test_binaries_of_users_cost_bounded_attempts(why: str, root: int, attempts: int) -> None:
    users = [instance(pid, f"1:{pid}", 1000) for pid in range(1, 26)]
    honest = [instance(pid, f"2:{pid}") for pid in range(100, 100 + root)]
    trace_plan, planned = some(*users, *honest)
    tried = []

    def attempt(now: TracePlan, left: Sequence[Planned]) -> list[Planned]:
        tried.append([each.pid for each, _ in now.plans])
        first = tried[-1][0]
        if first < 100 and why == "memcached-ended":
            raise RefusedError({first: Failure(why, "it ended")})
        if first < 100:
            raise AttachError("attach-failed", REFUSALS[0].replace("/proc/8/", f"/proc/{first}/"))
        return list(left)

    left: list[Planned] = leaving_out(attempt, lambda none: list(none), trace_plan, planned)
    assert len(tried) == attempts
    assert not root or len(tried[0]) == 7
    assert [each.instance.pid for each in left if each.plan] == [each.pid for each in honest]
    codes = [each.failure.code for each in left if each.failure]
    assert len(codes) == 25
    assert codes.count("attach-skipped") == 25 - codes.count(why)


@pytest.mark.lab
@pytest.mark.parametrize("accident", ["it ended", "the kernel refuses it"])
def test_other_instances_of_the_host_are_traced(accident: str, tmp_path: Path) -> None:
    copy = tmp_path / "memcached"
    shutil.copy(memcached_binary(), copy)
    with ExitStack() as stack:
        node = stack.enter_context(closing(LocalTransport().connect(Target("here"))))
        pids = [stack.enter_context(memcached(path))[0] for path in (copy, memcached_binary())]
        found = discover(node, ["bpftrace"], "host")
        instances = sorted((one for one in found.instances if one.pid in pids), key=lambda one: pids.index(one.pid))
        planned = plan_instances(node, BinaryCatalog(None), found.facts, instances, ProbeOptions())
        first = planned[0]
        assert first.plan is not None
        if accident == "it ended":
            os.kill(pids[0], signal.SIGKILL)
            os.waitpid(pids[0], 0)
        else:
            planned[0] = replace(first, plan=replace(first.plan, attach_point="0xfffffff", overlay=None))
        version = found.facts.bpftrace
        assert version is not None
        layout = key_layout((version.major, version.minor, version.patch))
        left: list[Planned] = []

        def attempt(trace_plan: TracePlan, now: Sequence[Planned]) -> TraceEnd:
            left[:] = now
            trace = HostTrace(["bpftrace"], trace_plan.plans, layout, TraceSettings(1.0))
            return trace.read(node.start(trace.script(), trace.limits))

        trace_plan = TracePlan([(each.instance, each.plan) for each in planned if each.plan])
        end = leaving_out(attempt, lambda _: None, trace_plan, planned)
    assert end is not None
    assert end.complete
    assert end.summaries.keys() == {pids[1]}
    assert [each.failure and each.failure.code for each in left] == [
        "memcached-ended" if accident == "it ended" else "attach-refused",
        None,
    ]
    result = outcome_of_plan("here", left).result
    assert [one.state for one in result.instances] == [HostState.TRACE_FAILED, HostState.OK]
