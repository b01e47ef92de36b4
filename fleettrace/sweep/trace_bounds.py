"""Measure how busy the instances of a host are, and bound its trace so that no probe costs more than allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fleettrace.node.request_rates import RequestRates, endpoint_lines, sample_early
from fleettrace.node.trace_end import TraceEnd
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.model import TraceSettings
from fleettrace.probes.optimized_uprobes import optimises
from fleettrace.probes.script import has_own_attach_points
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Warn
from fleettrace.sweep.clients import ClientReader
from fleettrace.sweep.cost import (
    MIN_WINDOW_S,
    WORST_US,
    Prediction,
    affordable_window,
    costs_of,
    coverage_of,
    may_cost,
    most_us,
    sized,
)
from fleettrace.sweep.events import HostProgressed, InstanceStarted, Phase, SliceArrived, ignore
from fleettrace.sweep.program_selection import TracePlan
from fleettrace.sweep.tracer import TracerContext

__all__ = ["choose_bounds", "measure_rates", "run_trace", "slice_callback"]


def measure_rates(context: TracerContext, trace_plan: TracePlan) -> RequestRates:
    """Return how many requests a second each instance gets, as memcached itself reports.

    A trace of a second counts the requests of the instances that do not answer, and measures the cost of a probe where
    no model predicts it and it may exceed `max_cost`.
    """
    rates = sample_early(trace_plan.connection, trace_plan.discovery.facts, [one for one, _ in trace_plan.plans])
    if context.bounds.duration_s <= MIN_WINDOW_S:
        return rates
    silent = [(one, plan) for one, plan in trace_plan.plans if one.pid not in rates.rates and plan.verdict.cost]
    costly = [
        (one, plan)
        for one, plan in trace_plan.plans
        if plan.verdict.cost is None and may_cost(rates.rates.get(one.pid), context.settings.max_cost)
    ]
    if not silent and not costly:
        return rates
    context.cancellation.check()
    short = replace(context.bounds, duration_s=MIN_WINDOW_S, printed=1)
    bounds = sized(short, None, trace_plan.layout, trace_plan.cpus, trace_plan.window_maps)
    end = run_trace(context, replace(trace_plan, plans=[*silent, *costly]), bounds, rates, silent=True)
    counted = {pid: one.total / end.window_s for pid, one in end.summaries.items() if end.window_s}
    requests = {one.pid: end.summaries[one.pid].total for one, _ in costly if one.pid in end.summaries}
    coverage = {pid: coverage_of(end, pid, total) for pid, total in requests.items()}
    return replace(
        rates,
        rates={**counted, **rates.rates},
        # Samples from before this trace no longer show the time before the next one.
        samples=() if costly else rates.samples,
        costs={pid: most_us(cost) for pid, cost in costs_of(end, requests, coverage).items()},
    )


def choose_bounds(
    context: TracerContext, trace_plan: TracePlan, rates: RequestRates
) -> tuple[TraceSettings, list[Warn]]:
    """Return the bounds of this host's trace, and the warnings about them."""
    known = [rates.rates[one.pid] for one, _ in trace_plan.plans if one.pid in rates.rates]
    rate = sum(known) if len(known) == len(trace_plan.plans) else None
    bounds = sized(context.bounds, rate, trace_plan.layout, trace_plan.cpus, trace_plan.window_maps)
    predictions = _predictions(trace_plan, rates)
    max_cost = context.settings.max_cost
    window = affordable_window(bounds.duration_s, max_cost, predictions)
    warnings = _script_warnings(context, trace_plan)
    if window == bounds.duration_s:
        return bounds, warnings
    worst = max(predictions, key=lambda prediction: prediction.cores)
    message = (
        f"traced for {window:.3g} s instead of {bounds.duration_s:g} s: at {worst.rate:,.0f} requests/s a probe of "
        f"{worst.known} {worst.cost_us:.3g} us takes {worst.cores:.2%} of a core, and --max-cost is {max_cost:.2%}"
    )
    return replace(bounds, duration_s=window), [*warnings, Warn("window-shortened", message, trace_plan.task.name)]


def _predictions(trace_plan: TracePlan, rates: RequestRates) -> list[Prediction]:
    """Return the costs that the models predict, and those that a first short trace measured."""
    modelled = [
        Prediction(rates.rates[one.pid], plan.verdict.cost)
        for one, plan in trace_plan.plans
        if one.pid in rates.rates and plan.verdict.cost is not None
    ]
    measured = [
        Prediction(rates.rates[pid], WORST_US, MIN_WINDOW_S, "unknown cost, at most")
        if cost_us is None
        else Prediction(rates.rates[pid], cost_us, MIN_WINDOW_S, "a measured")
        for pid, cost_us in rates.costs.items()
        if pid in rates.rates
    ]
    return modelled + measured


def _script_warnings(context: TracerContext, trace_plan: TracePlan) -> list[Warn]:
    script, facts = context.settings.options.script, trace_plan.discovery.facts
    if script is None or not has_own_attach_points(script) or not optimises(facts.kernel, facts.arch):
        return []
    message = (
        f"{script.name} has attach points of its own: on Linux {facts.kernel} a probe on a 5-byte nop inside a "
        "function overwrites the traced process's stack; use ${point:NAME}, or make sure that there is none"
    )
    return [Warn("probe-on-nop", message, trace_plan.task.name)]


def run_trace(
    context: TracerContext, trace_plan: TracePlan, bounds: TraceSettings, rates: RequestRates, *, silent: bool = False
) -> TraceEnd:
    """Run the trace while the login is held open. If `silent`, emit no event. Raises `HostError`."""
    host = trace_plan.task.name
    instance_ids = {instance.pid: instance.id for instance, _ in trace_plan.plans}
    emit = ignore if silent else context.emit
    clients = ClientReader(trace_plan.connection, trace_plan.plans, bounds.entries)

    def on_start() -> None:
        clients.read_again()
        emit(HostProgressed(host, Phase.TRACE))
        for pid in instance_ids:
            emit(InstanceStarted(host, pid))

    trace = HostTrace(
        trace_plan.task.bpftrace,
        trace_plan.plans,
        trace_plan.layout,
        bounds,
        bucket_s=context.settings.bucket_s,
        endpoints=endpoint_lines(trace_plan.discovery.facts, [one for one, _ in trace_plan.plans], rates.endpoints),
        samples=rates.samples,
        run=context.run_id,
        on_start=on_start,
        on_slice=None if silent else slice_callback(context, host, instance_ids),
    )
    execution = trace_plan.connection.start(trace.script(), trace.limits)
    context.cancellation.tracing(trace_plan.connection, execution)
    end = trace.read(execution)
    clients.attribute(end)
    return end


def slice_callback(
    context: TracerContext, host: str, instance_ids: Mapping[int, str]
) -> Callable[[Mapping[int, Summary]], None] | None:
    """Return a function that emits the slices of a host; None where the run emits none. `instance_ids` is by pid."""

    def on_slice(summaries: Mapping[int, Summary]) -> None:
        context.emit(SliceArrived(host, {instance_ids[pid]: summary for pid, summary in summaries.items()}))

    return on_slice if context.slices else None
