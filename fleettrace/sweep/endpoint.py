"""Count requests of a memcached that the controller reaches over its port alone, without a login."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256

from fleettrace.errors import HostError, HostState
from fleettrace.node.endpoint_trace import EndpointTrace, ask_stats, ask_watch, is_proxy
from fleettrace.node.model import Endpoint, Instance, NodeBinary
from fleettrace.node.planning import Planned
from fleettrace.node.server_stats import ServerStats
from fleettrace.node.watching import plan_watch
from fleettrace.summary.run import Coverage, Failure, ProbeVerdict, Warn
from fleettrace.sweep.events import HostProgressed, InstanceStarted, Phase
from fleettrace.sweep.outcome import HostOutcome, failed_outcome, outcome_of_plan, outcome_of_trace
from fleettrace.sweep.settings import HostTask
from fleettrace.sweep.tracer import EndOfRun, HostTracer, TracerContext
from fleettrace.transport.endpoint.failures import EndpointFailure
from fleettrace.transport.endpoint.model import PortTarget
from fleettrace.transport.endpoint.port import MemcachedPort, connect_port

__all__ = ["EndpointTracer"]

_MARK_DIGITS = 16
_REFUSED = "watch-refused"


@dataclass(frozen=True, slots=True)
class EndpointTracer:
    """Implements `HostTracer`: traces the hosts with an endpoint, and gives the others to another tracer."""

    context: TracerContext
    others: HostTracer

    def run(self, task: HostTask) -> HostOutcome:
        """Trace one host."""
        if task.endpoint is None:
            return self.others.run(task)
        context = self.context
        try:
            context.cancellation.check()
            _check_options(context)
            context.emit(HostProgressed(task.name, Phase.CONNECT))
            with ExitStack() as stack:
                return self._run(task, task.endpoint, stack)
        except HostError as error:
            cancellation = context.cancellation
            outcome = failed_outcome(task.name, error if cancellation.reason is None else cancellation.error())
            retried = error.code == EndpointFailure.UNREACHABLE.code and cancellation.reason is None
            return replace(outcome, retryable=retried)

    def finish(self) -> EndOfRun:
        """Return what the other tracer knows of the run."""
        return self.others.finish()

    def _run(self, task: HostTask, endpoint: PortTarget, stack: ExitStack) -> HostOutcome:
        stats_port = _connect(stack, endpoint, task)
        stats = ask_stats(stats_port)
        if is_proxy(stats_port):
            raise EndpointFailure.PROXY.error()
        self.context.emit(HostProgressed(task.name, Phase.PLAN))
        watch_port = _connect(stack, endpoint, task)
        other = ask_stats(watch_port)
        if other.pid != stats.pid or not _one_server(stats, other, ask_stats(stats_port)):
            raise EndpointFailure.SEVERAL.error(
                f"{endpoint} leads to several memcached processes: two connections have different counters"
            )
        planned = _planned(endpoint, stats)
        trace = EndpointTrace(stats_port, watch_port, self.context.bounds, planned.instance.pid)
        trace.sample()
        if self.context.settings.trace:
            trace.sample_classes()
        refused = ask_watch(watch_port)
        trace.watching = refused is None
        if self.context.settings.trace:
            outcome = self._trace(task, planned, trace)
        else:
            outcome = outcome_of_plan(task.name, [planned])
        if refused is not None:
            _without_keys(outcome, refused)
        identity = f"endpoint {endpoint.address} {endpoint.port}"
        outcome.result.marks = (sha256(identity.encode()).hexdigest()[:_MARK_DIGITS],)
        return outcome

    def _trace(self, task: HostTask, planned: Planned, trace: EndpointTrace) -> HostOutcome:
        context = self.context

        def on_start() -> None:
            context.emit(HostProgressed(task.name, Phase.TRACE))
            context.emit(InstanceStarted(task.name, planned.instance.pid))

        with context.cancellation.watch(trace):
            context.cancellation.tracing(trace, trace)
            end = trace.run(on_start)
        outcome = outcome_of_trace(task.name, [planned], end, context.settings, context.cancellation.reason)
        if trace.skipped:
            message = f"memcached skipped {trace.skipped:,} lines that it could not write in time"
            outcome.warnings.append(Warn("watch-skipped", message, task.name))
        options = context.settings.options
        left = [name for name in ("misses", "sizes", "clients") if getattr(options, name)]
        if left:
            message = f"no {', '.join(left)}: they need bpftrace on the host, and an endpoint has no login"
            outcome.warnings.append(Warn("endpoint-needs-login", message, task.name))
        if context.settings.ask and context.cancellation.reason is None:
            outcome.result.items = trace.items([key for key, _ in outcome.result.top])
        return outcome


def _one_server(first: ServerStats, second: ServerStats, third: ServerStats) -> bool:
    """Return whether one server can have answered: the second answer is of a newer connection than the others.

    Process ids do not show it: in a container memcached is process 1. After `stats reset` in between, one server looks
    like several.
    """
    for name in ("total_connections", "bytes_read"):
        counters = [one.others[name] for one in (first, second, third) if name in one.others]
        if len(counters) == 3 and not counters[0] < counters[1] <= counters[2]:
            return False
    return True


def _check_options(context: TracerContext) -> None:
    """Raise `HostError` for options that need a probe in the process."""
    settings = context.settings
    options = settings.options
    needing = (
        ("--detach", settings.detach is not None),
        ("--script", options.script is not None),
        ("fleettrace who", bool(options.asked)),
        ("--ops", options.ops is not None),
    )
    for name, given in needing:
        if given:
            raise EndpointFailure.NEEDS_LOGIN.error(f"{name} needs bpftrace on the host, and an endpoint has no login")


def _connect(stack: ExitStack, endpoint: PortTarget, task: HostTask) -> MemcachedPort:
    port = connect_port(endpoint, task.target.connect_timeout)
    stack.callback(port.close)
    return port


def _planned(endpoint: PortTarget, stats: ServerStats) -> Planned:
    where = Endpoint(endpoint.address, endpoint.port)
    binary = NodeBinary("", 0, None)
    instance = Instance(stats.pid or 0, 0, binary, b"", None, (endpoint.port,), None, (where,))
    [planned] = plan_watch([instance])
    return replace(planned, version=stats.version)


def _without_keys(outcome: HostOutcome, refused: str) -> None:
    """Make the result that of an instance of which only the counters are known."""
    [instance] = outcome.result.instances
    failure = Failure(
        _REFUSED,
        f"memcached refuses `watch` ({refused}), so only its request rate is known and no key; allow watch (no -W, "
        "memcached 1.4.26 or later), or trace the host over SSH",
    )
    instance.probe = ProbeVerdict(None, exact=False, why=failure.message)
    instance.cost = None
    instance.coverage = None if instance.requests is None else Coverage(instance.requests, 0)
    if instance.state is HostState.OK:
        instance.state, instance.error = HostState.PARTIAL, failure
        outcome.result.state, outcome.result.error = HostState.PARTIAL, failure
