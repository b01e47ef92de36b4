"""One host of a sweep, from the login to its summaries. Nothing escapes: whatever goes wrong is in the outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.discovery import look_around
from fleettrace.node.model import Discovery, Instance
from fleettrace.node.planning import Planned, check_able, plan_instances
from fleettrace.node.rates import Busyness, look_at, look_early
from fleettrace.node.tracing import NOT_ATTACHED, HostTrace, TraceEnd
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import KeyLayout, ProbePlan, Rung, TraceSettings
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure, HostResult, Warn
from fleettrace.sweep.cost import MIN_WINDOW_S, Prediction, affordable_window, sized
from fleettrace.sweep.dropping import leaving_out
from fleettrace.sweep.events import Event, HostProgressed, InstanceStarted, Phase, SliceArrived, ignore
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.retry import curable
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.stop import Stop
from fleettrace.sweep.watched import watch_host
from fleettrace.transport.interface import Connection

__all__ = ["HostSweep", "Traced", "failed_outcome"]


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
    stop: Stop
    tell: Callable[[Event], None]
    slices: bool = True
    """Whether anybody wants to hear of slices: to tell them apart takes as long as to count them."""

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

    def _sweep(self, task: HostTask, connection: Connection) -> HostOutcome:
        self.tell(HostProgressed(task.name, Phase.DISCOVER))
        found = look_around(connection, task.bpftrace, task.scope)
        outcome = self._discovered(task, connection, found)
        if found.facts.stuck:
            outcome.warnings.append(Warn("binary-stuck", _STUCK.format(_some(found.facts.stuck)), task.name))
        return outcome

    def _discovered(self, task: HostTask, connection: Connection, found: Discovery) -> HostOutcome:
        if self.settings.wish.rung is Rung.WATCH:
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
            return HostOutcome(HostResult(task.name, HostState.NO_INSTANCES))
        check_able(found)
        self.tell(HostProgressed(task.name, Phase.PLAN))
        planned = plan_instances(connection, self.catalog, found.facts, instances, self.settings.wish)
        if not self.settings.trace or not any(each.plan for each in planned):
            return outcome_of_plan(task.name, planned)
        self.stop.check()
        self.tell(HostProgressed(task.name, Phase.ATTACH))
        try:
            return self._without_dropped(Traced.of(task, connection, found, planned), planned)
        except HostError as error:
            if error.code not in NOT_ATTACHED or not any(each.plan and each.plan.overlay for each in planned):
                raise
            # The bpftrace may be one that our symbols do not reach, such as one in a container: that it does not find
            # them is how one learns of it.
            without = replace(found, facts=replace(found.facts, overlay_unseen=True))
            planned = plan_instances(connection, self.catalog, without.facts, instances, self.settings.wish)
            return self._without_dropped(Traced.of(task, connection, without, planned), planned)

    def _without_dropped(self, traced: Traced, planned: Sequence[Planned]) -> HostOutcome:
        def nothing_left(planned: Sequence[Planned]) -> HostOutcome:
            return outcome_of_plan(traced.task.name, planned)

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

    def _busyness(self, traced: Traced) -> Busyness:
        """How many requests a second each instance gets: as it says itself, else as a trace of a second counts."""
        busy = look_early(traced.connection, traced.found.facts, [instance for instance, _ in traced.plans])
        silent = [(one, plan) for one, plan in traced.plans if one.pid not in busy.rates and plan.verdict.cost]
        if not silent or self.bounds.duration_s <= MIN_WINDOW_S:
            return busy
        self.stop.check()
        bounds = sized(
            replace(self.bounds, duration_s=MIN_WINDOW_S, printed=1), None, traced.layout, traced.cpus, traced.kept
        )
        end = self._trace(replace(traced, plans=silent), bounds, Busyness(), heard=False)
        counted = {pid: one.total / end.window_s for pid, one in end.summaries.items() if end.window_s}
        return replace(busy, rates={**busy.rates, **counted})

    def _bounds(self, traced: Traced, busy: Busyness) -> tuple[TraceSettings, list[Warn]]:
        """The bounds of the trace of this host, and what is to be said of them."""
        known = [busy.rates[one.pid] for one, _ in traced.plans if one.pid in busy.rates]
        rate = sum(known) if len(known) == len(traced.plans) else None
        bounds = sized(self.bounds, rate, traced.layout, traced.cpus, traced.kept)
        predictions = [
            Prediction(busy.rates[one.pid], plan.verdict.cost)
            for one, plan in traced.plans
            if one.pid in busy.rates and plan.verdict.cost is not None
        ]
        window = affordable_window(bounds.duration_s, self.settings.max_cost, predictions)
        if window == bounds.duration_s:
            return bounds, []
        worst = max(predictions, key=lambda prediction: prediction.cores)
        message = (
            f"traced for {window:.3g} s instead of {bounds.duration_s:g} s: at {worst.rate:,.0f} requests/s a probe of "
            f"about {worst.cost_us:g} us takes {worst.cores:.2%} of a core, and --max-cost is "
            f"{self.settings.max_cost:.2%}"
        )
        return replace(bounds, duration_s=window), [Warn("window-shortened", message, traced.task.name)]

    def _trace(self, traced: Traced, bounds: TraceSettings, busy: Busyness, *, heard: bool) -> TraceEnd:
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
            places=look_at(traced.found.facts, [instance for instance, _ in traced.plans], busy.places),
            looks=busy.looks,
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


def failed_outcome(task: HostTask, error: HostError) -> HostOutcome:
    return HostOutcome(HostResult(task.name, error.state, Failure(error.code, error.message)))


@dataclass(frozen=True, slots=True)
class Traced:
    """What is traced on a host, and by what means."""

    task: HostTask
    connection: Connection
    found: Discovery
    plans: Sequence[tuple[Instance, ProbePlan]]
    layout: KeyLayout

    @classmethod
    def of(cls, task: HostTask, connection: Connection, found: Discovery, planned: Sequence[Planned]) -> Traced:
        """Those that have a plan."""
        plans = [(each.instance, each.plan) for each in planned if each.plan is not None]
        one_string = any(plan.rung is Rung.COMMAND for _, plan in plans)
        bpftrace = found.facts.bpftrace
        assert bpftrace is not None  # check_able
        layout = key_layout((bpftrace.major, bpftrace.minor, bpftrace.patch), one_string=one_string)
        return cls(task, connection, found, plans, layout)

    @property
    def cpus(self) -> int:
        return self.found.facts.possible_cpus

    @property
    def kept(self) -> int:
        """Maps of the whole window: of misses and of sizes."""
        plans = [plan for _, plan in self.plans]
        return any(plan.misses for plan in plans) + any(plan.sizes for plan in plans)
