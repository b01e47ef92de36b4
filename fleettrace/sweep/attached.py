"""Trace hosts with bpftrace while a login to each is held open: the usual way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleettrace.node.model import Discovery
from fleettrace.node.planning import Planned
from fleettrace.sweep.host import run_on_host
from fleettrace.sweep.items import add_items
from fleettrace.sweep.outcome import HostOutcome, outcome_of_trace
from fleettrace.sweep.probing import probe_host
from fleettrace.sweep.program_selection import TracePlan
from fleettrace.sweep.settings import HostTask
from fleettrace.sweep.trace_bounds import choose_bounds, measure_rates, run_trace
from fleettrace.sweep.tracer import EndOfRun, TracerContext
from fleettrace.transport.interface import Connection

__all__ = ["AttachedTracer"]


@dataclass(frozen=True, slots=True)
class AttachedTracer:
    """Implements `HostTracer`."""

    context: TracerContext

    def run(self, task: HostTask) -> HostOutcome:
        """Trace one host."""
        return run_on_host(self.context, task, self._probe, bpftrace=True)

    def finish(self) -> EndOfRun:
        """Return nothing: each host's window is its own."""
        return EndOfRun()

    def _probe(self, task: HostTask, connection: Connection, discovery: Discovery) -> HostOutcome:
        return probe_host(self.context, task, connection, discovery, self._trace)

    def _trace(self, trace_plan: TracePlan, planned: Sequence[Planned]) -> HostOutcome:
        context = self.context
        context.cancellation.check()
        rates = measure_rates(context, trace_plan)
        bounds, warnings = choose_bounds(context, trace_plan, rates)
        context.cancellation.check()
        end = run_trace(context, trace_plan, bounds, rates)
        outcome = outcome_of_trace(trace_plan.task.name, planned, end, context.settings, context.cancellation.reason)
        outcome.warnings.extend(warnings)
        facts, endpoints = trace_plan.discovery.facts, rates.endpoints
        return add_items(context, trace_plan.connection, outcome, end, planned, netns=facts.netns, answering=endpoints)
