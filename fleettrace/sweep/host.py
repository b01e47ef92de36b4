"""One host of a sweep, from the login to its summaries. Nothing escapes: whatever goes wrong is in the outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleettrace.errors import ConfigError, HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.discovery import discover
from fleettrace.node.model import Discovery, NodeFacts
from fleettrace.node.namespace import unsupported_there
from fleettrace.node.planning import Planned, check_able, check_empty
from fleettrace.node.request_rates import RequestRates, endpoint_lines, sample_early
from fleettrace.node.trace_end import NOT_ATTACHED, OVERWRITTEN, REFUSED, TraceEnd
from fleettrace.node.trace_obstacles import PREEMPTIBLE, PREEMPTION_UNKNOWN, obstacles
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.model import ProbeKind, TraceSettings
from fleettrace.probes.optimized_uprobes import optimises
from fleettrace.probes.script import has_own_attach_points
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure, HostResult, Warn
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.claims import Claims
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
from fleettrace.sweep.events import Event, HostProgressed, InstanceStarted, Phase, SliceArrived, ignore
from fleettrace.sweep.exclusion import leaving_out
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.program_selection import ProgramSelection, Traced, rehearse
from fleettrace.sweep.retry import curable
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.unreadable import add_unreadable
from fleettrace.sweep.watch import watch_host
from fleettrace.transport.interface import Connection

__all__ = ["HostSweep", "doubt", "failed_outcome", "node_warnings"]


_STUCK = (
    "the binaries of some processes (pid {}) could not be read in time, and whether they are memcached is not known: "
    "is a mount (NFS, sshfs) there without its server?"
)


def _some(pids: Sequence[int]) -> str:
    return ", ".join(map(str, pids[:10])) + (", ..." if len(pids) > 10 else "")


@dataclass(frozen=True, slots=True)
class HostSweep:
    """How hosts are swept: the same for all of a run. One object serves many threads."""

    settings: SweepSettings
    bounds: TraceSettings
    catalog: BinaryCatalog
    stop: Cancellation
    tell: Callable[[Event], None]
    slices: bool = True
    """Whether anybody wants to hear of slices: to tell them apart takes as long as to count them."""
    claims: Claims = field(default_factory=Claims)
    run_id: str = ""
    """For the nodes' logs."""

    def run(self, task: HostTask) -> HostOutcome:
        """Sweep one host."""
        try:
            self.stop.check()
            self.tell(HostProgressed(task.name, Phase.CONNECT))
            try:
                connection = task.transport.connect(task.target)
            except HostError as error:
                if self.stop.reason is None and curable(error):
                    return replace(failed_outcome(task, error), curable=True)
                raise
            with self.stop.watch(connection):
                return self._sweep(task, connection)
        except HostError as error:
            # A connection that the stop closed fails in some way of its own: what counts is why it was closed.
            told = error if self.stop.reason is None else self.stop.error()
            return failed_outcome(task, told)
        except ConfigError as error:
            # The site's files were read before the sweep: what is left is about this host alone.
            return failed_outcome(task, HostError(HostState.UNREACHABLE, "ssh-config", str(error)))

    def _sweep(self, task: HostTask, connection: Connection) -> HostOutcome:
        self.tell(HostProgressed(task.name, Phase.DISCOVER))
        found = discover(connection, task.bpftrace, task.scope)
        found, doubles = self.claims.first(task.name, found, task.wanted)
        every = not self.settings.trace
        try:
            outcome = self._discovered(task, connection, found)
        except HostError as error:
            outcome = failed_outcome(task, error if self.stop.reason is None else self.stop.error())
            every = True
        outcome.warnings.extend(doubles)
        add_unreadable(outcome.result, found.facts)
        if outcome.result.state is not HostState.NO_INSTANCES and self.settings.wish.probe_kind is not ProbeKind.WATCH:
            outcome.warnings.extend(node_warnings(task.name, found.facts, outcome.result, every=every))
        if any(warning.code in (PREEMPTIBLE, PREEMPTION_UNKNOWN) for warning in outcome.warnings):
            doubt(outcome.result)
        if found.facts.stuck:
            outcome.warnings.append(Warn("binary-stuck", _STUCK.format(_some(found.facts.stuck)), task.name))
        return outcome

    def _discovered(self, task: HostTask, connection: Connection, found: Discovery) -> HostOutcome:
        if self.settings.wish.probe_kind is ProbeKind.WATCH:
            return watch_host(
                task,
                connection,
                found,
                settings=self.settings,
                bounds=self.bounds,
                stop=self.stop,
                tell=self.tell,
            )
        instances = [instance for instance in found.instances if task.wanted(instance)]
        if not instances:
            check_empty(found.facts)
            return HostOutcome(HostResult(task.name, HostState.NO_INSTANCES))
        check_able(found, preemptible=self.settings.allow_preemptible)
        self.tell(HostProgressed(task.name, Phase.PLAN))
        fitting = ProgramSelection(task, connection, found, instances, self.catalog, self.settings.wish, self.bounds)
        with unsupported_there(found.facts, (REFUSED, *NOT_ATTACHED)):
            return fitting.outcome(self._attempt if self.settings.trace else rehearse(self.bounds))

    def _attempt(self, traced: Traced, planned: Sequence[Planned]) -> HostOutcome:
        """Trace what has a plan, without the instances that cannot be attached."""
        self.stop.check()
        self.tell(HostProgressed(traced.task.name, Phase.ATTACH))

        def nothing_left(planned: Sequence[Planned]) -> HostOutcome:
            return outcome_of_plan(traced.task.name, planned)

        try:
            return leaving_out(self._planned_trace, nothing_left, traced, planned)
        except HostError as error:
            if error.code != OVERWRITTEN:
                raise
        # Who ran that binary is gone by now, and is left out of the next attempt.
        self.stop.check()
        return leaving_out(self._planned_trace, nothing_left, traced, planned)

    def _planned_trace(self, traced: Traced, planned: Sequence[Planned]) -> HostOutcome:
        task = traced.task
        self.stop.check()
        busy = self._busyness(traced)
        bounds, warnings = self._bounds(traced, busy)
        self.stop.check()
        end = self._trace(traced, bounds, busy, heard=True)
        outcome = outcome_of_trace(task.name, planned, end, self.settings, self.stop.reason)
        outcome.warnings.extend(warnings)
        return outcome

    def _busyness(self, traced: Traced) -> RequestRates:
        """How many requests a second each instance gets, as it says itself. A trace of a second counts those of one
        that does not, and measures what a probe costs where no model predicts that and it may be too much."""
        busy = sample_early(traced.connection, traced.found.facts, [instance for instance, _ in traced.plans])
        if self.bounds.duration_s <= MIN_WINDOW_S:
            return busy
        silent = [(one, plan) for one, plan in traced.plans if one.pid not in busy.rates and plan.verdict.cost]
        costly = [
            (one, plan)
            for one, plan in traced.plans
            if plan.verdict.cost is None and may_cost(busy.rates.get(one.pid), self.settings.max_cost)
        ]
        if not silent and not costly:
            return busy
        self.stop.check()
        bounds = sized(
            replace(self.bounds, duration_s=MIN_WINDOW_S, printed=1), None, traced.layout, traced.cpus, traced.kept
        )
        end = self._trace(replace(traced, plans=[*silent, *costly]), bounds, busy, heard=False)
        counted = {pid: one.total / end.window_s for pid, one in end.summaries.items() if end.window_s}
        requests = {one.pid: end.summaries[one.pid].total for one, _ in costly if one.pid in end.summaries}
        coverage = {pid: coverage_of(end, pid, total) for pid, total in requests.items()}
        return replace(
            busy,
            rates={**counted, **busy.rates},
            # What was sampled before this trace is no longer the time before the next one.
            samples=() if costly else busy.samples,
            costs={pid: most_us(cost) for pid, cost in costs_of(end, requests, coverage).items()},
        )

    def _bounds(self, traced: Traced, busy: RequestRates) -> tuple[TraceSettings, list[Warn]]:
        """The bounds of the trace of this host, and what is to be said of them."""
        known = [busy.rates[one.pid] for one, _ in traced.plans if one.pid in busy.rates]
        rate = sum(known) if len(known) == len(traced.plans) else None
        bounds = sized(self.bounds, rate, traced.layout, traced.cpus, traced.kept)
        predictions = [
            Prediction(busy.rates[one.pid], plan.verdict.cost)
            for one, plan in traced.plans
            if one.pid in busy.rates and plan.verdict.cost is not None
        ]
        predictions += [
            Prediction(busy.rates[pid], WORST_US, MIN_WINDOW_S, "unknown cost, at most")
            if each is None
            else Prediction(busy.rates[pid], each, MIN_WINDOW_S, "a measured")
            for pid, each in busy.costs.items()
            if pid in busy.rates
        ]
        window = affordable_window(bounds.duration_s, self.settings.max_cost, predictions)
        warnings = self._script_warnings(traced)
        if window == bounds.duration_s:
            return bounds, warnings
        worst = max(predictions, key=lambda prediction: prediction.cores)
        message = (
            f"traced for {window:.3g} s instead of {bounds.duration_s:g} s: at {worst.rate:,.0f} requests/s a probe of "
            f"{worst.known} {worst.cost_us:.3g} us takes {worst.cores:.2%} of a core, "
            f"and --max-cost is {self.settings.max_cost:.2%}"
        )
        return replace(bounds, duration_s=window), [*warnings, Warn("window-shortened", message, traced.task.name)]

    def _script_warnings(self, traced: Traced) -> list[Warn]:
        script, facts = self.settings.wish.script, traced.found.facts
        if script is None or not has_own_attach_points(script) or not optimises(facts.kernel, facts.arch):
            return []
        message = (
            f"{script.name} names places of its own: on Linux {facts.kernel} a probe on a 5-byte nop inside a function "
            "overwrites the traced process's stack; use ${point:NAME}, or make sure that there is none"
        )
        return [Warn("probe-on-nop", message, traced.task.name)]

    def _trace(self, traced: Traced, bounds: TraceSettings, busy: RequestRates, *, heard: bool) -> TraceEnd:
        """Trace them. Only if `heard`, the sweep's listener hears of it."""
        name = traced.task.name
        names = {instance.pid: instance.id for instance, _ in traced.plans}
        tell = self.tell if heard else ignore

        def started() -> None:
            tell(HostProgressed(name, Phase.TRACE))
            for pid in names:
                tell(InstanceStarted(name, pid))

        trace = HostTrace(
            traced.task.bpftrace,
            traced.plans,
            traced.layout,
            bounds,
            bucket_s=self.settings.bucket_s,
            endpoints=endpoint_lines(traced.found.facts, [instance for instance, _ in traced.plans], busy.endpoints),
            samples=busy.samples,
            run=self.run_id,
            on_start=started,
            on_slice=self._slice_teller(name, names) if heard else None,
        )
        execution = traced.connection.start(trace.script(), trace.limits)
        self.stop.tracing(traced.connection, execution)
        return trace.read(execution)

    def _slice_teller(self, host: str, names: Mapping[int, str]) -> Callable[[Mapping[int, Summary]], None] | None:
        """What tells the sweep's listener of a host's slices, if it wants to hear of them. `names`: ids by pid."""

        def arrived(parts: Mapping[int, Summary]) -> None:
            self.tell(SliceArrived(host, {names[pid]: summary for pid, summary in parts.items()}))

        return arrived if self.slices else None


def node_warnings(host: str, facts: NodeFacts, result: HostResult, *, every: bool) -> list[Warn]:
    """The warnings about a node: in a run those that bear on its counts, in `check` and after a failure `every` one."""
    failed = result.error.code if result.error is not None else None
    return [
        Warn(obstacle.code, obstacle.message, host)
        for obstacle in obstacles(facts)
        if obstacle.code != failed and (every or obstacle.at_run)
    ]


def doubt(result: HostResult) -> None:
    """Take back that the counts are exact, and what would let them certify a key."""
    for instance in result.instances:
        instance.probe = replace(instance.probe, exact=False)
        instance.coverage = None


def failed_outcome(task: HostTask, error: HostError) -> HostOutcome:
    return HostOutcome(HostResult(task.name, error.state, Failure(error.code, error.message)))
