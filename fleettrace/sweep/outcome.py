"""Build the outcome of a host from its plans and its trace: states, failures, coverage, cost and summaries. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from fleettrace.errors import HostError, HostState
from fleettrace.node.binding import REFUSALS
from fleettrace.node.host_counters import host_stats
from fleettrace.node.planning import Planned
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan
from fleettrace.summary.counts import Summary
from fleettrace.summary.fleet import hottest
from fleettrace.summary.run import Failure, HostResult, InstanceResult, ProbeVerdict, Warn
from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.clients import host_clients
from fleettrace.sweep.cost import costs_of, coverage_of, measured_verdict
from fleettrace.sweep.counter_check import BLIND, blindness, excess, unproven
from fleettrace.sweep.exclusion import DROPPED
from fleettrace.sweep.settings import SweepSettings

__all__ = ["HostOutcome", "failed_outcome", "outcome_of_plan", "outcome_of_trace"]


@dataclass(slots=True)
class HostOutcome:
    """The outcome of an attempt at a host: its result, and the summaries of its instances."""

    result: HostResult
    summaries: dict[str, Summary] = field(default_factory=dict)
    """By instance id."""
    warnings: list[Warn] = field(default_factory=list)
    retryable: bool = False
    """The login failed, nothing was started on the host, and another attempt may succeed."""
    again_in_s: float | None = None
    """Seconds after which the host needs another attempt; None: the host is done."""
    traceback: str = ""
    """Of an exception that no code expects. It goes to the log and to `-v`, never into the report."""


def failed_outcome(host: str, error: HostError) -> HostOutcome:
    """Return the outcome of a host that gave nothing."""
    return HostOutcome(HostResult(host, error.state, Failure(error.code, error.message)))


def outcome_of_plan(host: str, planned: Sequence[Planned]) -> HostOutcome:
    """Return the outcome of a host where nothing was traced, on request or because no instance can be."""
    instances = [_instance(each) for each in planned]
    state = _common_state(instances)
    return HostOutcome(HostResult(host, state, _common_failure(instances, state), instances))


def outcome_of_trace(
    host: str, planned: Sequence[Planned], end: TraceEnd, settings: SweepSettings, cancelled: Reason | None
) -> HostOutcome:
    """Return the outcome of a trace."""
    cut = _cut(end, settings, cancelled)
    instances: list[InstanceResult] = []
    summaries: dict[str, Summary] = {}
    warnings: list[Warn] = []
    doubted: set[int] = set()
    for each in planned:
        instance = _instance(each)
        instances.append(instance)
        if each.plan is None:
            continue
        instance.stats = host_stats(
            end.samples.get(instance.pid, ()),
            end.classes.get(instance.pid, ()),
            end.start_ns,
            end.start_ns + round(end.window_s * 1e9),
            asked=bool(each.instance.endpoints),
        )
        failure, warning = _verdict(each, each.plan, end)
        if failure is None and cut is None and instance.pid in end.alive:
            failure = unproven(end, each.instance, each.plan, end.summaries[instance.pid].total)
        if failure is not None:
            instance.state, instance.error = HostState.TRACE_FAILED, failure
            if failure.code == BLIND and _comparable(each):
                instance.coverage = coverage_of(end, instance.pid, end.summaries[instance.pid].total)
            continue
        if warning is not None:
            doubted.add(instance.pid)
            warnings.append(Warn(warning.code, warning.message, host))
        summary = summaries[each.instance.id] = end.summaries[instance.pid]
        instance.window_s, instance.requests, instance.absent = end.window_s, summary.total, summary.absent
        incomplete = cut or _incomplete(each, each.plan, end)
        if incomplete is not None:
            instance.state, instance.error = incomplete
    comparable = {each.instance.pid for each in planned if _comparable(each)}
    _add_cost(instances, end, comparable=comparable - doubted)
    for instance in instances:
        if instance.pid in doubted:
            instance.probe = replace(instance.probe, exact=False)
    state = _common_state(instances)
    result = HostResult(host, state, _common_failure(instances, state), instances)
    total = _sum(list(summaries.values()))
    result.top = hottest(total, settings.top_per_host)
    result.timeline = list(total.timeline)
    result.clients = host_clients(result, end)
    return HostOutcome(result, summaries, warnings)


def _verdict(planned: Planned, plan: ProbePlan, end: TraceEnd) -> tuple[Failure | None, Failure | None]:
    """Return why the counts of an instance are not reported, and why they are reported but not exact."""
    pid = planned.instance.pid
    if pid in end.refused:
        return end.refused[pid], None
    if pid in end.implausible:
        message = (
            f"the probe on {plan.verdict.symbol} of pid {pid} read data that are not memcached keys, so the report has "
            "no counts of it; try --probe command, for the binary may be built in an unusual way"
        )
        return Failure("implausible-keys", message), None
    # A process that has ended is not compared: a successor on its port counts requests that it never got.
    if pid in end.alive and (blind := blindness(end, planned.instance, plan, end.summaries[pid].total)):
        return blind, None
    too_much = excess(end, planned.instance, plan, end.summaries[pid])
    if too_much is None:
        return None, None
    return (too_much.failure, None) if too_much.absurd else (None, too_much.failure)


def _incomplete(planned: Planned, plan: ProbePlan, end: TraceEnd) -> tuple[HostState, Failure] | None:
    """Return the state and the reason of an instance with incomplete counts; None where they are complete."""
    pid = planned.instance.pid
    if end.overfull and plan.script is not None:
        message = (
            f"the map @{plan.script.counts} of {plan.script.name} was full, so keys that came late are missing; count "
            "fewer keys in it, or trace for a shorter time"
        )
        return HostState.PARTIAL, Failure("map-full", message)
    if pid in end.undecided:
        message = (
            f"the binary of pid {pid} does not show the kind (--ops) of more than a tenth of its requests, so no count "
            "includes them; trace all kinds, or use --probe command"
        )
        return HostState.PARTIAL, Failure("kinds-unknown", message)
    if pid not in end.alive:
        message = (
            f"memcached (pid {pid}) ended during the trace: the report counts its requests until then, and none of a "
            "successor"
        )
        return HostState.PARTIAL, Failure("memcached-ended", message)
    return None


def _sum(summaries: Sequence[Summary]) -> Summary:
    """Return the sum of the summaries: the only one itself, which saves a copy."""
    if len(summaries) == 1:
        return summaries[0]
    total = Summary()
    for summary in summaries:
        total.add(summary)
    return total


def _comparable(planned: Planned) -> bool:
    """Return whether the trace counts what memcached counts: every request."""
    plan = planned.plan
    return plan is not None and plan.ops is None and plan.script is None and not planned.instance.proxy


def _add_cost(instances: Sequence[InstanceResult], end: TraceEnd, comparable: Set[int]) -> None:
    """Add what the trace of each instance saw of its traffic, and what it cost."""
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
        # The cost of a user's program is not per request, and `watch` has no probe.
        if each.probe.probe_kind in (ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND):
            each.probe = measured_verdict(each.probe, each.cost)


def _cut(end: TraceEnd, settings: SweepSettings, cancelled: Reason | None) -> tuple[HostState, Failure] | None:
    """Return the state and the reason of every instance where the trace did not reach its end."""
    if end.complete or (cancelled is Reason.ENOUGH and not end.broken):
        return None
    seen = f"{end.window_s:.1f} s of {settings.duration_s:g} s"
    if cancelled is Reason.DEADLINE:
        return HostState.TIMEOUT, Failure("deadline", f"the deadline of the run ended the trace after {seen}")
    if cancelled is not None:
        return HostState.INTERRUPTED, Failure("interrupted", f"the trace was interrupted after {seen}")
    stderr = f": {end.error_text}" if end.error_text else ""
    return HostState.PARTIAL, Failure("trace-cut", f"the trace ended after {seen}{stderr}")


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
    """Return the state of the host: that of its instances where they agree, else `partial`."""
    states = {instance.state for instance in instances}
    return states.pop() if len(states) == 1 else HostState.PARTIAL


def _common_failure(instances: Sequence[InstanceResult], state: HostState) -> Failure | None:
    """Return why the host is not `ok`: the reasons of its instances, each once."""
    if state is HostState.OK:
        return None
    failures = list(dict.fromkeys(instance.error for instance in instances if instance.error is not None))
    if not failures:
        return None
    return Failure(failures[0].code, "; ".join(failure.message for failure in failures))
