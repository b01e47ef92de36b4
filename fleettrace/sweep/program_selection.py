"""Select the first variant of a host's program that the kernel there loads, and name it in the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.loading import Load, LoadVerdict, load_program
from fleettrace.node.model import Bpftrace, Discovery, Instance, NodeFacts
from fleettrace.node.namespace import check_namespace
from fleettrace.node.planning import Planned, plan_instances
from fleettrace.node.trace_end import NOT_ATTACHED, REFUSED, SLOW_START, ProgramRefusedError
from fleettrace.node.trace_script import probe_targets
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import KeyLayout, ProbeOptions, ProbePlan, TraceSettings
from fleettrace.probes.program import program
from fleettrace.probes.variants import Variant, variants
from fleettrace.summary.run import Warn
from fleettrace.sweep.outcome import HostOutcome, outcome_of_plan
from fleettrace.sweep.settings import HostTask
from fleettrace.transport.interface import Connection

__all__ = ["ProgramSelection", "TracePlan", "check_loads", "rehearse"]


@dataclass(frozen=True, slots=True)
class TracePlan:
    """The instances of one host that have a probe, and what it takes to trace them."""

    task: HostTask
    connection: Connection
    discovery: Discovery
    plans: Sequence[tuple[Instance, ProbePlan]]
    layout: KeyLayout

    @classmethod
    def of(
        cls,
        task: HostTask,
        connection: Connection,
        discovery: Discovery,
        planned: Sequence[Planned],
        *,
        other_bound: bool = False,
    ) -> TracePlan:
        """Return the plan for the instances of `planned` that have a probe."""
        plans = [(each.instance, each.plan) for each in planned if each.plan is not None]
        version = _bpftrace_of(discovery.facts)
        layout = key_layout((version.major, version.minor, version.patch), other_bound=other_bound)
        return cls(task, connection, discovery, plans, layout)

    def text(self, bounds: TraceSettings) -> str:
        """Return the program's text, to compare it with another variant's."""
        return program(probe_targets(self.plans), self.layout, bounds)

    @property
    def cpus(self) -> int:
        """The possible CPUs of the host."""
        return self.discovery.facts.possible_cpus

    @property
    def window_maps(self) -> int:
        """Pairs of maps that count over the whole window: for misses, for sizes and for clients."""
        plans = [plan for _, plan in self.plans]
        clients = any(plan.descriptor is not None for plan in plans)
        return any(plan.counts_misses for plan in plans) + any(plan.sizes for plan in plans) + clients


TraceVariant = Callable[[TracePlan, Sequence[Planned]], HostOutcome]
"""Traces, or only loads, one variant of the program. Raises `HostError`."""


@dataclass(frozen=True, slots=True)
class ProgramSelection:
    """Tries the variants of one host's program."""

    task: HostTask
    connection: Connection
    discovery: Discovery
    instances: Sequence[Instance]
    catalog: BinaryCatalog
    options: ProbeOptions
    bounds: TraceSettings

    def plan(self, variant: Variant, facts: NodeFacts) -> list[Planned]:
        """Return a plan for each instance. Raises `HostError` when the connection breaks."""
        return plan_instances(
            self.connection, self.catalog, facts, self.instances, variant.apply(self.options), variant.refused
        )

    def outcome(self, trace: TraceVariant) -> HostOutcome:
        """Return the outcome of the first variant that the kernel loads. Raises `HostError`; where the kernel refuses
        every variant, the message has its reason for the first one."""
        refusals: list[tuple[Variant, str]] = []
        tried_texts: set[str] = set()
        facts = self.discovery.facts
        for variant in variants(self.options):
            planned = self.plan(variant, facts)
            if not any(each.plan for each in planned):
                if refusals:
                    break
                return outcome_of_plan(self.task.name, planned)
            text = self._trace_plan(facts, planned, variant).text(self.bounds)
            if text in tried_texts:
                continue
            tried_texts.add(text)
            try:
                outcome, facts = self._try(trace, variant, facts, planned)
            except HostError as error:
                if error.code != REFUSED:
                    raise
                refusals.append((variant, self._reason(self._trace_plan(facts, planned, variant), error)))
                continue
            return self._reported(outcome, variant, refusals)
        raise HostError(
            HostState.TRACE_FAILED,
            REFUSED,
            f"{self._sentence(refusals[0][1])}{self._cure(len(refusals) - 1)}",
        )

    def _cure(self, simpler: int) -> str:
        """Return what to do where the kernel refuses the program, and `simpler` others too."""
        if self.options.script is not None:
            # No variant omits a part of a user's program, and no other probe kind replaces it.
            return (
                "; change the script (`--script`) so that the verifier accepts it (`bpftrace -v` prints its log), or "
                "use a newer bpftrace (`fleettrace_bpftrace`)"
            )
        others = f"; it also refused {simpler} simpler program{'s' * (simpler != 1)}" if simpler else ""
        return f"{others}: use a newer bpftrace (`fleettrace_bpftrace`) or `--probe watch`"

    def _try(
        self, trace: TraceVariant, variant: Variant, facts: NodeFacts, planned: Sequence[Planned]
    ) -> tuple[HostOutcome, NodeFacts]:
        """Return the outcome of a variant, and the node's facts with what the attempt showed of its bpftrace."""
        trace_plan = self._trace_plan(facts, planned, variant)
        check_namespace(facts, trace_plan.plans)
        try:
            return trace(trace_plan, planned), facts
        except HostError as error:
            if error.code not in NOT_ATTACHED or not any(plan.overlay for _, plan in trace_plan.plans):
                raise
        # A bpftrace in a container, say, does not see the symbol overlay: only the failure shows that.
        facts = replace(facts, overlay_unseen=True)
        planned = self.plan(variant, facts)
        return trace(self._trace_plan(facts, planned, variant), planned), facts

    def _trace_plan(self, facts: NodeFacts, planned: Sequence[Planned], variant: Variant) -> TracePlan:
        discovery = replace(self.discovery, facts=facts)
        return TracePlan.of(self.task, self.connection, discovery, planned, other_bound=variant.other_bound)

    def _reason(self, trace_plan: TracePlan, error: HostError) -> str:
        """Return the verifier's reason. bpftrace prints it only with `-v`: where it is missing, load once more."""
        reason = error.reason if isinstance(error, ProgramRefusedError) else error.message
        if isinstance(error, ProgramRefusedError) and error.logged:
            return reason
        try:
            load = _load(trace_plan, self.bounds)
        except HostError:
            return reason
        return load.reason if load.verdict is LoadVerdict.REFUSED else reason

    def _sentence(self, reason: str) -> str:
        facts = self.discovery.facts
        return f"kernel {facts.kernel} refused the program of bpftrace {_bpftrace_of(facts)}: {reason}"

    def _reported(self, outcome: HostOutcome, variant: Variant, refusals: Sequence[tuple[Variant, str]]) -> HostOutcome:
        if not refusals:
            return outcome
        reasons = "; ".join(
            f"not {refused.described(self.options)}: {self._sentence(reason)}" for refused, reason in refusals
        )
        _add_why(outcome, f"{variant.described(self.options)} ({reasons})")
        if lost := variant.lost(self.options):
            message = f"{self._sentence(refusals[0][1])}; it is traced without {lost}"
            outcome.warnings.append(Warn(REFUSED, message, self.task.name))
        return outcome


def _add_why(outcome: HostOutcome, text: str) -> None:
    """Add a reason to the verdict on every probe."""
    for instance in outcome.result.instances:
        if instance.probe.probe_kind is not None:
            instance.probe = replace(instance.probe, why=f"{instance.probe.why}; {text}")


def rehearse(bounds: TraceSettings) -> TraceVariant:
    """Return a function that loads the program, attached to nothing that runs, and traces nothing."""

    def trace(trace_plan: TracePlan, planned: Sequence[Planned]) -> HostOutcome:
        load = check_loads(trace_plan, bounds)
        outcome = outcome_of_plan(trace_plan.task.name, planned)
        if load.verdict is LoadVerdict.LOADED:
            facts = trace_plan.discovery.facts
            loaded = f"kernel {facts.kernel} loads it from bpftrace {_bpftrace_of(facts)}"
            _add_why(outcome, loaded)
        else:
            message = f"loading the program was not tried: {load.reason}"
            outcome.warnings.append(Warn("program-not-tried", message, trace_plan.task.name))
        return outcome

    return trace


def check_loads(trace_plan: TracePlan, bounds: TraceSettings) -> Load:
    """Load the program on the node. Raises `HostError` unless it loads or that cannot be tried there."""
    load = _load(trace_plan, bounds)
    match load.verdict:
        case LoadVerdict.REFUSED:
            raise ProgramRefusedError(load.reason)
        case LoadVerdict.FAILED:
            if load.code == SLOW_START:
                raise HostError(HostState.TIMEOUT, SLOW_START, load.reason)
            code = load.code or NOT_ATTACHED[0]
            raise HostError(HostState.TRACE_FAILED, code, f"bpftrace did not start to trace: {load.reason}")
        case LoadVerdict.UNSEEN if not trace_plan.discovery.facts.overlay_unseen:
            raise HostError(HostState.TRACE_FAILED, NOT_ATTACHED[0], load.reason)
        case LoadVerdict.UNSEEN:
            return Load(LoadVerdict.UNKNOWN, load.reason)
    return load


def _load(trace_plan: TracePlan, bounds: TraceSettings) -> Load:
    if any(plan.script is not None for _, plan in trace_plan.plans):
        return Load(LoadVerdict.UNKNOWN, "the script (`--script`) may attach to files that other processes run")
    targets = probe_targets(trace_plan.plans)
    return load_program(trace_plan.connection, trace_plan.task.bpftrace, targets, trace_plan.layout, bounds)


def _bpftrace_of(facts: NodeFacts) -> Bpftrace:
    assert facts.bpftrace is not None  # check_able
    return facts.bpftrace
