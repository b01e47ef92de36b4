"""One machine with a memcached of every build, traced under traffic by every bpftrace at the same time."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.memcached import OPTIONS, read_stats
from fleettrace.lab.namespaces import enter
from fleettrace.lab.specs import HostSpec, InstanceSpec
from fleettrace.lab.system import wait_until
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import InstanceResult
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Cancellation, Reason
from fleettrace.sweep.claims import Claims
from fleettrace.sweep.events import Event, HostProgressed, Phase, SliceArrived
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.tracer import TracerContext
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.builds import build
from tests.matrix.requests import Sent, send_plan
from tests.matrix.roots import RELEASES, bpftrace_of, bpftrace_version, memcached_of
from tests.matrix.traffic import plan

__all__ = ["BLIND", "BUILDS", "MISSES", "Matrix", "Traced"]

_COMPILED = {"plain": 11213, "cf-protection": 11214, "lto": 11215, "dtrace": 11216, "proxy": 11217}
_PACKAGED = {"bookworm": 11211, "trixie": 11212, "sid": 11218}
BUILDS = {f"debian {release}": port for release, port in _PACKAGED.items()} | _COMPILED
"""The port of every memcached."""
BLIND = {f"{release} without overlays": release for release in ("bookworm", "sid")}
"""The releases of bpftraces that cannot read our symbol overlays, as in a container."""
MISSES = {f"{release} with misses": release for release in RELEASES}
"""The tracers that count misses too."""
_WINDOW_S = 120.0
"""The longest window, for a very slow machine; the trace is stopped as soon as the traffic is over."""
_BOUNDS = TraceSettings(_WINDOW_S, printed=20_000)
"""A slice may hold the keys of all instances, and all of them are printed."""


@dataclass(frozen=True, slots=True)
class Traced:
    """The result of one bpftrace for one memcached."""

    result: InstanceResult
    summary: Summary | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """The whole matrix."""

    truth: dict[str, Sent]
    """The requests sent to each build."""
    versions: dict[str, str]
    """The version of each release's bpftrace."""
    traced: dict[tuple[str, str], Traced]
    """The results by release (or a name in `BLIND` or `MISSES`) and build."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests with the mark `builds` unless `-m` names it: `make test-builds` runs them."""
    if "builds" in config.getoption("markexpr"):
        return
    left = [item for item in items if item.get_closest_marker("builds")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    compiled = tuple(InstanceSpec(port, binary=build(name), copy=name) for name, port in _COMPILED.items())
    with Lab([HostSpec("node", compiled)]) as lab, ExitStack() as packaged:
        pids = lab.hosts["node"].pids
        for release, port in _PACKAGED.items():
            pids[port] = packaged.enter_context(_packaged(lab, release, port))
        truth, outcomes = _trace_all(lab, pids, tmp_path_factory.mktemp("analyses"))
        versions = {release: bpftrace_version(release, lab.private) for release in RELEASES}
    traced = {}
    for tracer, outcome in outcomes.items():
        assert len(outcome.result.instances) == len(BUILDS), outcome.result.error
        by_port = {port: one for one in outcome.result.instances for port in one.ports}
        for name, port in BUILDS.items():
            pid = f"{by_port[port].pid}@"
            summary = next((one for instance, one in outcome.summaries.items() if instance.startswith(pid)), None)
            traced[tracer, name] = Traced(by_port[port], summary)
    return Matrix({name: truth[port] for name, port in BUILDS.items()}, versions, traced)


@contextmanager
def _packaged(lab: Lab, release: str, port: int) -> Iterator[int]:
    """Run the release's memcached on the host; yield its pid."""
    host = lab.hosts["node"]
    command = [*enter(host.namespace), *memcached_of(release), "-p", str(port), *OPTIONS]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(host.address, port), f"memcached of {release} does not start")
            yield process.pid
        finally:
            process.kill()


def _answers(address: str, port: int) -> bool:
    try:
        return bool(read_stats(address, port)["pid"])
    except OSError:
        return False


def _trace_all(lab: Lab, pids: dict[int, int], analyses: Path) -> tuple[dict[int, Sent], dict[str, HostOutcome]]:
    """Trace with every release's bpftrace at once, send the traffic, and stop."""
    cancellation, catalog = Cancellation(), BinaryCatalog(analyses)
    commands = {release: bpftrace_of(release, lab.private) for release in RELEASES}
    for name, release in BLIND.items():
        script = lab.private / name.replace(" ", "-")
        script.write_text(f'#!/bin/sh\nexec env -u BCC_SYMFS {commands[release]} "$@"\n')
        script.chmod(0o755)
        commands[name] = str(script)
    commands |= {name: commands[release] for name, release in MISSES.items()}
    tracing = {name: threading.Event() for name in commands}
    seen = dict.fromkeys(commands, 0)

    def on_event(event: Event) -> None:
        if isinstance(event, HostProgressed) and event.phase is Phase.TRACE:
            tracing[event.host].set()
        elif isinstance(event, SliceArrived):
            seen[event.host] += sum(summary.total for summary in event.slices.values())

    settings = SweepSettings(_WINDOW_S, max_cost=1e9)
    context = TracerContext(settings, _BOUNDS, catalog, cancellation, on_event)
    selected = set(pids.values())

    def trace(name: str) -> HostOutcome:
        words = (commands[name],)
        task = HostTask(name, Target(name), LocalTransport(), words, selects=lambda one: one.pid in selected)
        try:
            # Each bpftrace counts all of them, as if it were a run of its own.
            own = replace(settings, options=ProbeOptions(misses=name in MISSES))
            return AttachedTracer(replace(context, claims=Claims(), settings=own)).run(task)
        finally:
            tracing[name].set()  # whether it traced or failed

    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        running = {name: pool.submit(trace, name) for name in commands}
        try:
            for event in tracing.values():
                assert event.wait(90)
            address = lab.hosts["node"].address
            with ThreadPoolExecutor(max_workers=len(pids)) as clients:
                sent = dict(
                    zip(pids, clients.map(lambda port: send_plan(address, port, plan(port)), pids), strict=True)
                )
            # A bpftrace that is stopped while it waits for its reader loses output.
            total = sum(one.requests.total() for one in sent.values())
            wait_until(
                lambda: all(seen[name] >= total or one.done() for name, one in running.items()),
                "not all of the traffic was seen",
                seconds=60,
            )
        finally:
            cancellation.request(Reason.INTERRUPTED)
        return sent, {name: future.result() for name, future in running.items()}
