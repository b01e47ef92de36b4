"""Log in to one host, discover its instances, let a tracer do its work there, and add the warnings about the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from fleettrace.errors import ConfigError, HostError, HostState
from fleettrace.node.discovery import discover
from fleettrace.node.model import Discovery, NodeFacts
from fleettrace.node.trace_obstacles import PREEMPTIBLE, PREEMPTION_UNKNOWN, obstacles, unfound, unreadable
from fleettrace.summary.run import Failure, HostResult, Warn
from fleettrace.sweep.claims import UNPROVEN
from fleettrace.sweep.events import HostProgressed, Phase
from fleettrace.sweep.outcome import HostOutcome, failed_outcome
from fleettrace.sweep.retry import retryable
from fleettrace.sweep.settings import HostTask
from fleettrace.sweep.tracer import TracerContext
from fleettrace.transport.interface import Connection, Target

__all__ = ["add_failure", "add_warnings", "login", "node_warnings", "run_on_host"]

_Work = Callable[[HostTask, Connection, Discovery], HostOutcome]
"""What a tracer does on a host that it is logged in to. Raises `HostError`."""

_PIDS_SHOWN = 10
_MARK_DIGITS = 16


def login(task: HostTask) -> Connection:
    """Log in to a host. Raises `HostError`."""
    try:
        return task.transport.connect(task.target)
    except ConfigError as error:
        # The files of the site were read before the sweep, so the error concerns this host alone.
        raise HostError(HostState.UNREACHABLE, "ssh-config", str(error)) from error


def run_on_host(context: TracerContext, task: HostTask, work: _Work, *, bpftrace: bool) -> HostOutcome:
    """Return the outcome of `work` on a host. With `bpftrace`, the work runs bpftrace, and what hinders it on the node
    is worth a warning."""
    cancellation = context.cancellation
    try:
        cancellation.check()
        context.emit(HostProgressed(task.name, Phase.CONNECT))
        try:
            connection = login(task)
        except HostError as error:
            if cancellation.reason is None and retryable(error):
                return replace(failed_outcome(task.name, error), retryable=True)
            raise
        with cancellation.watch(connection):
            return _run_on_connection(context, task, connection, work, bpftrace=bpftrace)
    except HostError as error:
        # A cancellation closes the connection, which then fails in some way of its own: report the cancellation.
        return failed_outcome(task.name, error if cancellation.reason is None else cancellation.error())


def _run_on_connection(
    context: TracerContext, task: HostTask, connection: Connection, work: _Work, *, bpftrace: bool
) -> HostOutcome:
    context.emit(HostProgressed(task.name, Phase.DISCOVER))
    discovery = discover(connection, task.bpftrace, task.scope)
    all_instances = discovery.instances
    discovery, claim_warnings = context.claims.first(task.name, discovery, task.selects)
    every = not context.settings.trace
    try:
        outcome = work(task, connection, discovery)
    except HostError as error:
        cancellation = context.cancellation
        outcome = failed_outcome(task.name, error if cancellation.reason is None else cancellation.error())
        every = True
    outcome.result.marks = _marks(task.target, discovery.facts)
    outcome.warnings.extend(claim_warnings)
    _add_error(outcome.result, unreadable(discovery.facts))
    # Another host may have claimed the instance that has the port.
    found = {port for each in all_instances for port in each.ports}
    found.update(port for each in outcome.result.instances for port in each.ports)
    _add_error(outcome.result, unfound(discovery.facts, task.ports, found))
    if bpftrace and outcome.result.state is not HostState.NO_INSTANCES:
        outcome.warnings.extend(node_warnings(task.name, discovery.facts, outcome.result, every=every))
    if discovery.facts.stuck:
        outcome.warnings.append(_stuck_warning(task.name, discovery.facts.stuck))
    add_warnings(outcome, ())
    return outcome


def _marks(target: Target, facts: NodeFacts) -> tuple[str, ...]:
    """Return hashes of the address and the boot id, which are compared between runs and never shown."""
    known = [f"boot id {facts.boot_id}"] if facts.boot_id else []
    if target.address is not None:
        known.append(f"address {target.address} {target.port or 22}")
    return tuple(sha256(each.encode()).hexdigest()[:_MARK_DIGITS] for each in known)


def add_warnings(outcome: HostOutcome, warnings: Sequence[Warn]) -> None:
    """Add warnings to an outcome; where one of them doubts its counts, these certify nothing."""
    outcome.warnings.extend(warnings)
    if any(warning.code in (PREEMPTIBLE, PREEMPTION_UNKNOWN, UNPROVEN) for warning in outcome.warnings):
        _make_approximate(outcome.result)


def add_failure(result: HostResult, failure: Failure | None, state: HostState = HostState.PARTIAL) -> None:
    """Add what discovery could not look into or trace: it makes a complete result partial, and one without an instance
    `state`."""
    if failure is None or not result.complete:
        return
    result.state = HostState.PARTIAL if result.instances else state
    result.error = failure


def _stuck_warning(host: str, pids: Sequence[int]) -> Warn:
    shown = ", ".join(map(str, pids[:_PIDS_SHOWN])) + (", ..." if len(pids) > _PIDS_SHOWN else "")
    message = (
        f"the binaries of some processes (pid {shown}) could not be read in time, so whether they are memcached is "
        "unknown: check for a mount (NFS, sshfs) that has lost its server"
    )
    return Warn("binary-stuck", message, host)


def _add_error(result: HostResult, error: HostError | None) -> None:
    if error is not None:
        add_failure(result, Failure(error.code, error.message), error.state)


def node_warnings(host: str, facts: NodeFacts, result: HostResult, *, every: bool) -> list[Warn]:
    """Return the warnings about a node: only those that bear on the counts, or `every` one for `check` and after a
    failure. The reason of the failure itself is not repeated."""
    failed = result.error.code if result.error is not None else None
    return [
        Warn(obstacle.code, obstacle.message, host)
        for obstacle in obstacles(facts)
        if obstacle.code != failed and (every or obstacle.at_run)
    ]


def _make_approximate(result: HostResult) -> None:
    """Mark the counts of a host as approximate, so that they certify no key."""
    for instance in result.instances:
        instance.probe = replace(instance.probe, exact=False)
        instance.coverage = None
