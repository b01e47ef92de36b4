"""Plan the probes of one host and try its program's variants, whichever way the trace then runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fleettrace.errors import HostError, HostState
from fleettrace.node.model import Discovery
from fleettrace.node.namespace import unsupported_there
from fleettrace.node.planning import Planned, check_able, check_empty
from fleettrace.node.trace_end import NOT_ATTACHED, OVERWRITTEN, REFUSED
from fleettrace.summary.run import HostResult
from fleettrace.sweep.events import HostProgressed, Phase
from fleettrace.sweep.exclusion import leaving_out
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan
from fleettrace.sweep.program_selection import ProgramSelection, TracePlan, TraceVariant, rehearse
from fleettrace.sweep.settings import HostTask
from fleettrace.sweep.tracer import TracerContext
from fleettrace.transport.interface import Connection

__all__ = ["probe_host"]


def probe_host(
    context: TracerContext, task: HostTask, connection: Connection, discovery: Discovery, trace: TraceVariant
) -> HostOutcome:
    """Return the outcome of `trace` with the first program that the host's kernel loads. Raises `HostError`.

    Without `settings.trace`, load the program and trace nothing.
    """
    instances = [instance for instance in discovery.instances if task.selects(instance)]
    if not instances:
        check_empty(discovery.facts)
        return HostOutcome(HostResult(task.name, HostState.NO_INSTANCES))
    settings = context.settings
    check_able(discovery, preemptible=settings.allow_preemptible)
    context.emit(HostProgressed(task.name, Phase.PLAN))
    selection = ProgramSelection(
        task, connection, discovery, instances, context.catalog, settings.options, context.bounds
    )
    with unsupported_there(discovery.facts, (REFUSED, *NOT_ATTACHED)):
        return selection.outcome(partial(_attempt, context, trace) if settings.trace else rehearse(context.bounds))


def _attempt(
    context: TracerContext, trace: TraceVariant, trace_plan: TracePlan, planned: Sequence[Planned]
) -> HostOutcome:
    """Trace the instances that have a plan, without those that cannot be attached."""
    host = trace_plan.task.name
    context.cancellation.check()
    context.emit(HostProgressed(host, Phase.ATTACH))
    nothing_left = partial(outcome_of_plan, host)
    try:
        return leaving_out(trace, nothing_left, trace_plan, planned)
    except HostError as error:
        if error.code != OVERWRITTEN:
            raise
    # The processes of the overwritten binary are gone by now, so the next attempt leaves them out.
    context.cancellation.check()
    return leaving_out(trace, nothing_left, trace_plan, planned)
