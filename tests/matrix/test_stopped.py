"""A bpftrace that is stopped while it waits for a slow reader loses output, and the report has no wrong count.

The slow reader is the test, which does not read the trace's output until the trace was stopped.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.protocol import Command
from fleettrace.lab.system import wait_until
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.summary.key import Key
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Cancellation, Reason
from fleettrace.sweep.events import Event, HostProgressed, Phase
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.tracer import TracerContext
from fleettrace.transport.interface import Chunk, Connection, Execution, Limits, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.e2e.local import served
from tests.matrix.roots import RELEASES, bpftrace_of

pytestmark = [pytest.mark.lab, pytest.mark.slow]

KEYS = [b"%05d:" % number + b"x" * 190 for number in range(3000)]
"""A slice of these is several times larger than a pipe's buffer."""
_WINDOW_S = 120.0


class Held:
    """An execution that is read until counting begins, and further after `let_go` is set."""

    def __init__(self, execution: Execution, let_go: threading.Event) -> None:
        self._execution = execution
        self._let_go = let_go

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self._execution:
            yield chunk
            if b" start " in chunk.data:
                assert self._let_go.wait(60)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._execution, name)


class SlowReader(LocalTransport):
    """This machine, with traces that are not read in time."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def connect(self, target: Target) -> Any:
        return _SlowConnection(super().connect(target), self.let_go)


class _SlowConnection:
    def __init__(self, connection: Connection, let_go: threading.Event) -> None:
        self._connection = connection
        self._let_go = let_go

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Any:
        execution = self._connection.start(script, limits, keep_shell=keep_shell)
        return execution if keep_shell else Held(execution, self._let_go)

    def close(self) -> None:
        self._connection.close()


def is_ours(pid: int) -> bool:
    """Return whether the process is a descendant of this one."""
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid > 1


def waits_for_its_reader() -> bool:
    """Return whether our bpftrace waits for the reader of its output."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                process.joinpath("comm").read_text() == "bpftrace\n"
                and "pipe_write" in process.joinpath("wchan").read_text()
                and is_ours(int(process.name))
            ):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("release", RELEASES)
def test_stopped_bpftrace_with_unread_output_counts_right(release: str, tmp_path: Path) -> None:
    cancellation, transport, tracing = Cancellation(), SlowReader(), threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, HostProgressed) and event.phase is Phase.TRACE:
            tracing.set()

    bounds = TraceSettings(_WINDOW_S, printed=20_000)
    settings = SweepSettings(_WINDOW_S, options=ProbeOptions(misses=True), max_cost=1e9)
    tracer = AttachedTracer(TracerContext(settings, bounds, BinaryCatalog(tmp_path), cancellation, on_event))
    with served(tmp_path, memcached_binary()) as server, ThreadPoolExecutor(1) as pool:
        task = HostTask(
            "here",
            Target("here"),
            transport,
            (bpftrace_of(release, tmp_path),),
            selects=lambda one: one.pid == server.pid,
        )
        running = pool.submit(tracer.run, task)
        try:
            assert tracing.wait(60)
            server.send([Command("get", (key,)) for key in KEYS], 3000)
            wait_until(waits_for_its_reader, "bpftrace does not wait", seconds=30)
        finally:
            cancellation.request(Reason.INTERRUPTED)
            time.sleep(0.5)
            transport.let_go.set()
        outcome = running.result()
    assert outcome.result.error is not None
    [summary] = outcome.summaries.values()
    assert set(summary.keys) <= {Key.whole(key) for key in KEYS}
    assert all(known.requests == 1 for known in summary.keys.values())
    # Every request was a miss; bpftrace prints misses last, so they may be unknown.
    assert {known.misses for known in summary.keys.values()} in ({1}, {None})
    assert 0 < len(summary.keys) <= summary.total <= len(KEYS)
    assert summary.absent == summary.total - len(summary.keys)
