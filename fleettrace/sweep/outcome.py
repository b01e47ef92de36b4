"""What a host's work amounts to: the states of its instances, its own state, and its summaries. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from fleettrace.errors import HostState
from fleettrace.node.binding import REFUSALS
from fleettrace.node.planning import Planned
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind
from fleettrace.summary.counts import Summary
from fleettrace.summary.fleet import hottest
from fleettrace.summary.run import Failure, HostResult, InstanceResult, ProbeVerdict, Warn
from fleettrace.sweep.blindness import blindness
from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.cost import costs_of, coverage_of, measured_verdict
from fleettrace.sweep.excess import excess
from fleettrace.sweep.exclusion import DROPPED
from fleettrace.sweep.settings import SweepSettings

__all__ = ["HostOutcome", "outcome_of_plan", "outcome_of_trace"]


@dataclass(slots=True)
class HostOutcome:
    """What a host gave: its result, and the summaries of its instances, which go into the fleet's and are let go."""

    result: HostResult
    summaries: dict[str, Summary] = field(default_factory=dict)
    """By instance id."""
    warnings: list[Warn] = field(default_factory=list)
    curable: bool = False
    """The login failed, nothing was begun on the host, and another try may succeed."""
    later_s: float | None = None
    """The host is to be left alone for so many seconds and has another turn then; None: it is done."""
    traceback: str = ""
    """Of an exception that nothing expects, for whoever looks for its cause."""


def outcome_of_plan(host: str, planned: Sequence[Planned]) -> HostOutcome:
    """The outcome where nothing was traced: because nobody asked for it, or because nothing can be."""
    instances = [_instance(each) for each in planned]
    state = _common_state(instances)
    return HostOutcome(HostResult(host, state, _common_failure(instances, state), instances))


def outcome_of_trace(
    host: str, planned: Sequence[Planned], end: TraceEnd, settings: SweepSettings, stopped: Reason | None
) -> HostOutcome:
    """The outcome of a trace."""
    cut = _cut(end, settings, stopped)
    instances: list[InstanceResult] = []
    summaries: dict[str, Summary] = {}
    warnings: list[Warn] = []
    doubted: set[int] = set()
    for each in planned:
        instance = _instance(each)
        instances.append(instance)
        pid = each.instance.pid
        if each.plan is None:
            continue
        if pid in end.refused:
            instance.state, instance.error = HostState.TRACE_FAILED, end.refused[pid]
            continue
        if pid in end.implausible:
            instance.state = HostState.TRACE_FAILED
            instance.error = Failure(
                "implausible-keys",
                f"what the probe on {each.plan.verdict.symbol} of pid {pid} read were no memcached keys, so nothing is "
                "reported of it: is the binary built in an unusual way? Try --probe command",
            )
            continue
        # A successor on the same port counts what this process never got: what the trace saw of the process stays.
        ended = pid not in end.alive
        blind = None if ended else blindness(end, each.instance, each.plan, end.summaries[pid].total)
        if blind is not None:
            instance.state, instance.error = HostState.TRACE_FAILED, blind
            instance.coverage = coverage_of(end, pid, end.summaries[pid].total) if _comparable(each) else None
            continue
        too_much = excess(end, each.instance, each.plan, end.summaries[pid])
        if too_much is not None and too_much.absurd:
            instance.state, instance.error = HostState.TRACE_FAILED, too_much.failure
            continue
        if too_much is not None:
            doubted.add(pid)
            warnings.append(Warn(too_much.failure.code, too_much.failure.message, host))
        summary = summaries[each.instance.id] = end.summaries[pid]
        instance.window_s = end.window_s
        instance.requests = summary.total
        instance.absent = summary.absent
        if cut is not None:
            instance.state, instance.error = cut
        elif end.overfull and each.plan.script is not None:
            instance.state = HostState.PARTIAL
            instance.error = Failure(
                "map-full",
                f"the map @{each.plan.script.counts} of {each.plan.script.name} was full, so keys that came late are "
                "missing: count fewer keys in it, or trace for a shorter time",
            )
        elif pid in end.undecided:
            instance.state = HostState.PARTIAL
            instance.error = Failure(
                "kinds-unknown",
                f"of more than a tenth of the requests of pid {pid} the binary does not show the kind (--ops), so they "
                "are in no count: trace all kinds, or use --probe command",
            )
        elif ended:
            instance.state = HostState.PARTIAL
            instance.error = Failure(
                "memcached-ended",
                f"memcached (pid {pid}) ended during the trace; what it served before is counted, what a "
                "successor served is not",
            )
    _bill(instances, end, comparable={each.instance.pid for each in planned if _comparable(each)} - doubted)
    for instance in instances:
        if instance.pid in doubted:
            instance.probe = replace(instance.probe, exact=False)
    state = _common_state(instances)
    result = HostResult(host, state, _common_failure(instances, state), instances)
    whole = _whole(list(summaries.values()))
    result.top = hottest(whole, settings.top_per_host)
    result.timeline = list(whole.timeline)
    return HostOutcome(result, summaries, warnings)


def _whole(summaries: Sequence[Summary]) -> Summary:
    """Their sum: of a single one, itself."""
    if len(summaries) == 1:
        return summaries[0]
    whole = Summary()
    for summary in summaries:
        whole.add(summary)
    return whole


def _comparable(planned: Planned) -> bool:
    """Whether what was traced is what memcached counts: every request."""
    plan = planned.plan
    return plan is not None and plan.ops is None and plan.script is None and not planned.instance.proxy


def _bill(instances: Sequence[InstanceResult], end: TraceEnd, comparable: Set[int]) -> None:
    """What each instance's trace saw of its traffic, and cost it."""
    traced = {each.pid: each.requests for each in instances if each.requests is not None}
    coverage = {pid: coverage_of(end, pid, requests) for pid, requests in traced.items()}
    costs = costs_of(end, traced, coverage)
    for each in instances:
        if each.pid not in traced:
            continue
        each.coverage, each.cost = coverage[each.pid], costs.get(each.pid)
        if each.pid not in comparable:
            if each.coverage is None and each.cost is not None:
                each.cost = replace(each.cost, during_us=None)
            each.coverage = None
        # A program of the user's own is not paid by the request, and `watch` has no probe.
        if each.probe.probe_kind in (ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND):
            each.probe = measured_verdict(each.probe, each.cost)


def _cut(end: TraceEnd, settings: SweepSettings, stopped: Reason | None) -> tuple[HostState, Failure] | None:
    """The state and the reason of every instance when the trace did not reach its end."""
    if end.complete or (stopped is Reason.ENOUGH and not end.broken):
        return None
    seen = f"{end.window_s:.1f} s of {settings.duration_s:g} s"
    if stopped is Reason.DEADLINE:
        return HostState.TIMEOUT, Failure("deadline", f"the run's deadline cut the trace off after {seen}")
    if stopped is not None:
        return HostState.INTERRUPTED, Failure("interrupted", f"the trace was interrupted after {seen}")
    words = f": {end.error_text}" if end.error_text else ""
    return HostState.PARTIAL, Failure("trace-cut", f"the trace ended after {seen}{words}")


def _instance(planned: Planned) -> InstanceResult:
    instance = planned.instance
    verdict = planned.plan.verdict if planned.plan is not None else ProbeVerdict(None, exact=False)
    if planned.failure is not None:
        verdict = ProbeVerdict(None, exact=False, why=planned.failure.message)
    return InstanceResult(
        pid=instance.pid,
        state=_planned_state(planned.failure),
        exe=instance.exe.decode("utf-8", "backslashreplace"),
        probe=verdict,
        container=instance.container,
        version=planned.version,
        build_id=planned.build_id,
        ports=instance.ports,
        user=instance.user,
        error=planned.failure,
    )


def _planned_state(failure: Failure | None) -> HostState:
    if failure is None:
        return HostState.OK
    return HostState.TRACE_FAILED if failure.code in (*REFUSALS, *DROPPED) else HostState.UNSUPPORTED


def _common_state(instances: Sequence[InstanceResult]) -> HostState:
    """The host's state: its instances' where they agree, else `partial`."""
    states = {instance.state for instance in instances}
    return states.pop() if len(states) == 1 else HostState.PARTIAL


def _common_failure(instances: Sequence[InstanceResult], state: HostState) -> Failure | None:
    """Why the host is not `ok`: its instances' reasons, each once."""
    if state is HostState.OK:
        return None
    failures = list(dict.fromkeys(instance.error for instance in instances if instance.error is not None))
    if not failures:
        return None
    return Failure(failures[0].code, "; ".join(failure.message for failure in failures))
