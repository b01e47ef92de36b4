"""Finding the variant of a host's program that its kernel loads: each is tried in turn, and the report says which."""

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

__all__ = ["ProgramSelection", "Traced", "check_loads", "rehearse"]


@dataclass(frozen=True, slots=True)
class Traced:
    """What is traced on a host, and by what means."""

    task: HostTask
    connection: Connection
    found: Discovery
    plans: Sequence[tuple[Instance, ProbePlan]]
    layout: KeyLayout

    @classmethod
    def of(
        cls,
        task: HostTask,
        connection: Connection,
        found: Discovery,
        planned: Sequence[Planned],
        *,
        other_bound: bool = False,
    ) -> Traced:
        """Those that have a plan."""
        plans = [(each.instance, each.plan) for each in planned if each.plan is not None]
        version = _bpftrace_of(found.facts)
        layout = key_layout((version.major, version.minor, version.patch), other_bound=other_bound)
        return cls(task, connection, found, plans, layout)

    def text(self, bounds: TraceSettings) -> str:
        """Return the program's text, to compare it with another variant's."""
        return program(probe_targets(self.plans), self.layout, bounds)

    @property
    def cpus(self) -> int:
        return self.found.facts.possible_cpus

    @property
    def kept(self) -> int:
        """Pairs of maps of the whole window: for misses and for sizes."""
        plans = [plan for _, plan in self.plans]
        return any(plan.misses for plan in plans) + any(plan.sizes for plan in plans)


Attempt = Callable[[Traced, Sequence[Planned]], HostOutcome]
"""Traces, or tries to load, one variant. Raises `HostError`."""


@dataclass(frozen=True, slots=True)
class ProgramSelection:
    """One host whose program is to be fitted to its kernel."""

    task: HostTask
    connection: Connection
    found: Discovery
    instances: Sequence[Instance]
    catalog: BinaryCatalog
    wish: ProbeOptions
    bounds: TraceSettings

    def plan(self, variant: Variant, facts: NodeFacts) -> list[Planned]:
        """Return a plan for each instance. Raises `HostError` when the connection breaks."""
        return plan_instances(
            self.connection, self.catalog, facts, self.instances, variant.apply(self.wish), variant.refused
        )

    def outcome(self, attempt: Attempt) -> HostOutcome:
        """Return the outcome of the first variant that the kernel loads. Raises `HostError`, for a refusal of every
        variant that of the first one."""
        refusals: list[tuple[Variant, str]] = []
        tried: set[str] = set()
        facts = self.found.facts
        for variant in variants(self.wish):
            planned = self.plan(variant, facts)
            if not any(each.plan for each in planned):
                if refusals:
                    break
                return outcome_of_plan(self.task.name, planned)
            text = self._traced(facts, planned, variant).text(self.bounds)
            if text in tried:
                continue
            tried.add(text)
            try:
                outcome, facts = self._tried(attempt, variant, facts, planned)
            except HostError as error:
                if error.code != REFUSED:
                    raise
                refusals.append((variant, self._reason(self._traced(facts, planned, variant), error)))
                continue
            return self._reported(outcome, variant, refusals)
        raise HostError(
            HostState.TRACE_FAILED,
            REFUSED,
            f"{self._sentence(refusals[0][1])}{self._cure(len(refusals) - 1)}",
        )

    def _cure(self, simpler: int) -> str:
        """Return what to do when the program was refused, and `simpler` others too."""
        if self.wish.script is not None:
            # Nothing of a user's own program is left out, and no other probe kind does what it does.
            return (
                "; change the script (`--script`) so that the verifier takes it (`bpftrace -v` prints its log), or use "
                "a newer bpftrace (`fleettrace_bpftrace`)"
            )
        others = f"; nor did it take {simpler} simpler program{'s' * (simpler != 1)}" if simpler else ""
        return f"{others}: use a newer bpftrace (`fleettrace_bpftrace`) or `--probe watch`"

    def _tried(
        self, attempt: Attempt, variant: Variant, facts: NodeFacts, planned: Sequence[Planned]
    ) -> tuple[HostOutcome, NodeFacts]:
        """Return the attempt's outcome, and what it showed of the node's bpftrace."""
        traced = self._traced(facts, planned, variant)
        check_namespace(facts, traced.plans)
        try:
            return attempt(traced, planned), facts
        except HostError as error:
            if error.code not in NOT_ATTACHED or not any(plan.overlay for _, plan in traced.plans):
                raise
        # The bpftrace may be one that our symbols do not reach, such as one in a container: that it does not find them
        # is how one learns of it.
        facts = replace(facts, overlay_unseen=True)
        planned = self.plan(variant, facts)
        return attempt(self._traced(facts, planned, variant), planned), facts

    def _traced(self, facts: NodeFacts, planned: Sequence[Planned], variant: Variant) -> Traced:
        found = replace(self.found, facts=facts)
        return Traced.of(self.task, self.connection, found, planned, other_bound=variant.other_bound)

    def _reason(self, traced: Traced, error: HostError) -> str:
        """The verifier's own reason. bpftrace gives it only with `-v`: where the refusal lacks it, load once more."""
        reason = error.reason if isinstance(error, ProgramRefusedError) else error.message
        if isinstance(error, ProgramRefusedError) and error.logged:
            return reason
        try:
            load = _load(traced, self.bounds)
        except HostError:
            return reason
        return load.reason if load.verdict is LoadVerdict.REFUSED else reason

    def _sentence(self, reason: str) -> str:
        facts = self.found.facts
        return f"kernel {facts.kernel} refused the program of bpftrace {_bpftrace_of(facts)}: {reason}"

    def _reported(self, outcome: HostOutcome, variant: Variant, refusals: Sequence[tuple[Variant, str]]) -> HostOutcome:
        if not refusals:
            return outcome
        reasons = "; ".join(
            f"not {refused.described(self.wish)}: {self._sentence(reason)}" for refused, reason in refusals
        )
        _add_why(outcome, f"{variant.described(self.wish)} ({reasons})")
        if lost := variant.lost(self.wish):
            message = f"{self._sentence(refusals[0][1])}; it is traced without {lost}"
            outcome.warnings.append(Warn(REFUSED, message, self.task.name))
        return outcome


def _add_why(outcome: HostOutcome, text: str) -> None:
    """Add to the verdict on every probe."""
    for instance in outcome.result.instances:
        if instance.probe.probe_kind is not None:
            instance.probe = replace(instance.probe, why=f"{instance.probe.why}; {text}")


def rehearse(bounds: TraceSettings) -> Attempt:
    """Return an attempt that loads the program, attached to nothing that runs, and traces nothing."""

    def attempt(traced: Traced, planned: Sequence[Planned]) -> HostOutcome:
        load = check_loads(traced, bounds)
        outcome = outcome_of_plan(traced.task.name, planned)
        if load.verdict is LoadVerdict.LOADED:
            facts = traced.found.facts
            loaded = f"kernel {facts.kernel} loads it from bpftrace {_bpftrace_of(facts)}"
            _add_why(outcome, loaded)
        else:
            message = f"whether its kernel takes the program was not tried: {load.reason}"
            outcome.warnings.append(Warn("program-not-tried", message, traced.task.name))
        return outcome

    return attempt


def check_loads(traced: Traced, bounds: TraceSettings) -> Load:
    """Load the program on the node. Raises `HostError` unless it loads or that cannot be tried there."""
    load = _load(traced, bounds)
    match load.verdict:
        case LoadVerdict.REFUSED:
            raise ProgramRefusedError(load.reason)
        case LoadVerdict.FAILED:
            if load.code == SLOW_START:
                raise HostError(HostState.TIMEOUT, SLOW_START, load.reason)
            code = load.code or NOT_ATTACHED[0]
            raise HostError(HostState.TRACE_FAILED, code, f"bpftrace did not start to trace: {load.reason}")
        case LoadVerdict.UNSEEN if not traced.found.facts.overlay_unseen:
            raise HostError(HostState.TRACE_FAILED, NOT_ATTACHED[0], load.reason)
        case LoadVerdict.UNSEEN:
            return Load(LoadVerdict.UNKNOWN, load.reason)
    return load


def _load(traced: Traced, bounds: TraceSettings) -> Load:
    if any(plan.script is not None for _, plan in traced.plans):
        return Load(LoadVerdict.UNKNOWN, "a program of your own names files that other processes may run")
    sites = probe_targets(traced.plans)
    return load_program(traced.connection, traced.task.bpftrace, sites, traced.layout, bounds)


def _bpftrace_of(facts: NodeFacts) -> Bpftrace:
    assert facts.bpftrace is not None  # check_able
    return facts.bpftrace
