"""Trace several builds at once with one real bpftrace, with every step of a run on a host."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import FleettraceError
from fleettrace.lab.memcached import read_stats
from fleettrace.lab.system import wait_until
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import InstanceResult
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Cancellation, Reason
from fleettrace.sweep.events import Event, HostProgressed, Phase, SliceArrived
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.tracer import TracerContext
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.matrix.requests import Sent, send

__all__ = ["Counted", "trace_builds"]

_ADDRESS = "127.0.0.1"
_WINDOW_S = 150.0
"""The longest window; the trace is stopped as soon as the traffic is over."""
_ATTACH_S = 150
_SETTLE_S = 20
"""Seconds to wait for the counts of the last requests."""
_OPTIONS = ("-u", "nobody", "-l", _ADDRESS, "-t", "2", "-m", "64", "-U", "0")


@dataclass(frozen=True, slots=True)
class Counted:
    """The requests sent to one build, and its result."""

    sent: Sent
    result: InstanceResult
    summary: Summary | None


def trace_builds(binaries: Mapping[str, Path], options: ProbeOptions, directory: Path) -> dict[str, Counted]:
    """Trace the builds, by name, under traffic. Raises `AssertionError` when bpftrace does not start."""
    with ExitStack() as running:
        started = {name: running.enter_context(_memcached(path, directory)) for name, path in binaries.items()}
        pids = {pid: name for name, (pid, _) in started.items()}
        cancellation, tracing, seen = Cancellation(), threading.Event(), [0]

        def on_event(event: Event) -> None:
            if isinstance(event, HostProgressed) and event.phase is Phase.TRACE:
                tracing.set()
            elif isinstance(event, SliceArrived):
                seen[0] += sum(summary.total for summary in event.slices.values())

        settings = SweepSettings(_WINDOW_S, options=options, max_cost=1e9)
        bounds = TraceSettings(_WINDOW_S, printed=20_000)
        context = TracerContext(settings, bounds, BinaryCatalog(directory / "analyses"), cancellation, on_event)
        task = HostTask("here", Target("here"), LocalTransport(), selects=lambda one: one.pid in pids)
        with ThreadPoolExecutor(max_workers=1) as pool:
            future = pool.submit(AttachedTracer(context).run, task)
            future.add_done_callback(lambda _: tracing.set())
            try:
                assert tracing.wait(_ATTACH_S)
                sent = _send([port for _, port in started.values()])
                expected = sum(each.requests.total() for each in sent)
                _wait(lambda: seen[0] >= expected or future.done())
            finally:
                cancellation.request(Reason.INTERRUPTED)
            outcome = future.result()
    truth = dict(zip(started, sent, strict=True))
    found: dict[str, Counted] = {}
    for result in outcome.result.instances:
        name = pids[result.pid]
        prefix = f"{result.pid}@"
        summary = next((one for key, one in outcome.summaries.items() if key.startswith(prefix)), None)
        found[name] = Counted(truth[name], result, summary)
    assert len(found) == len(binaries), outcome.result.error
    return found


def _send(ports: Sequence[int]) -> list[Sent]:
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda each: send(_ADDRESS, each[1], each[0]), enumerate(ports)))


def _wait(condition: Callable[[], object]) -> None:
    """Wait until all of the traffic is counted. After a timeout, the comparison finds the missing requests."""
    with suppress(FleettraceError):
        wait_until(condition, "not all of the traffic was seen", seconds=_SETTLE_S)


@contextmanager
def _memcached(binary: Path, directory: Path) -> Iterator[tuple[int, int]]:
    """Run a copy of the binary on its own inode; yield its pid and its port."""
    with socket.socket() as probe:
        probe.bind((_ADDRESS, 0))
        port = int(probe.getsockname()[1])
    own = directory / f"{port}/memcached"
    own.parent.mkdir(parents=True)
    shutil.copy2(binary, own)
    command = [str(own), "-p", str(port), *_OPTIONS]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=directory) as process:
        try:
            wait_until(lambda: _answers(port), f"{binary} does not start")
            yield process.pid, port
        finally:
            process.kill()


def _answers(port: int) -> bool:
    try:
        return bool(read_stats(_ADDRESS, port)["pid"])
    except OSError:
        return False
