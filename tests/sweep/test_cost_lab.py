"""An instance that does not report its counters, and a probe with a cost that no model predicts."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleettrace.binary.analysis import ProbedFunction
from fleettrace.binary.cheapest import Instruction, InstructionCost
from fleettrace.lab.memcached import DEBIAN
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.summary.run import RunInfo, RunResult
from fleettrace.sweep.engine import Sweep
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import memcached

pytestmark = pytest.mark.lab


@contextmanager
def under_load(path: Path) -> Iterator[int]:
    """Run memcached on a unix socket, request one key again and again, and yield the pid."""
    process = subprocess.Popen([str(DEBIAN), "-u", "root", "-s", str(path)], stderr=subprocess.DEVNULL)
    over = threading.Event()

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            while not over.is_set():
                connection.sendall(b"get a\r\n" * 20)
                time.sleep(0.01)
                connection.recv(65536)

    thread = threading.Thread(target=ask, daemon=True)
    try:
        while not path.exists():
            time.sleep(0.02)
        thread.start()
        yield process.pid
    finally:
        over.set()
        thread.join(timeout=5)
        process.kill()
        process.wait()


def sweep(pid: int, settings: SweepSettings) -> RunResult:
    task = HostTask("here", Target("here"), LocalTransport(), selects=lambda instance: instance.pid == pid)
    info = RunInfo("r", datetime.now(UTC), "here", settings.duration_s, "0")
    return Sweep([task], settings, info, BinaryCatalog(None)).run()


def test_short_trace_bounds_a_silent_instance(tmp_path: Path) -> None:
    with under_load(tmp_path / "socket") as pid:
        result = sweep(pid, SweepSettings(duration_s=60, max_cost=0.0001))
    [host] = result.hosts
    [instance] = host.instances
    assert (host.state.value, host.error) == ("ok", None)
    assert instance.window_s is not None
    assert 1 <= instance.window_s < 10
    assert [warning.code for warning in result.warnings] == ["window-shortened"]
    assert instance.requests
    assert instance.coverage is None
    assert instance.cost is not None
    assert instance.cost.before_us is None


def ask_in_batches(port: int, over: threading.Event) -> None:
    batch = b"get a\r\n" * 200
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while not over.is_set():
            connection.sendall(batch)
            missing = 200 * len(b"END\r\n")
            while missing > 0:
                missing -= len(connection.recv(65536))


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Run memcached under load, as on a machine that the cost model does not know, and yield the pid."""
    monkeypatch.setattr("fleettrace.probes.selection.predicted_microseconds", lambda _machine, _cost: None)
    with memcached(DEBIAN) as (pid, connect):
        over = threading.Event()
        port = connect().connection.getpeername()[1]
        thread = threading.Thread(target=ask_in_batches, args=(port, over))
        thread.start()
        try:
            yield pid
        finally:
            over.set()
            thread.join(timeout=5)


def stepped(point: ProbedFunction, *, returns: bool = False) -> Instruction:
    """The third instruction of Debian's do_item_get, `mov %edx,%r14d`, which the kernel single-steps."""
    assert not returns
    entry = point.entry
    return replace(
        entry,
        address=entry.address + 4,
        file_offset=entry.file_offset + 4,
        offset=4,
        cost=InstructionCost.STEPPED,
        return_offset=16,
    )


@pytest.mark.parametrize(("where", "least_us", "most_us"), [(None, 0.3, 60), (stepped, 3, 200)])
def test_unpredicted_cost_is_measured_and_bounds_the_window(
    busy: int, monkeypatch: pytest.MonkeyPatch, where: object, least_us: float, most_us: float
) -> None:
    if where is not None:
        monkeypatch.setattr("fleettrace.probes.selection.instruction_to_probe", where)
    result = sweep(busy, SweepSettings(duration_s=20, max_cost=0.005))
    [instance] = result.hosts[0].instances
    print(f"\n{instance.probe.cost} us a request, a window of {instance.window_s:.2f} s")
    assert (instance.state.value, instance.error) == ("ok", None)
    assert instance.window_s is not None
    assert 0.9 < instance.window_s < 10
    assert [warning.code for warning in result.warnings] == ["window-shortened"]
    message = result.warnings[0].message
    assert "a measured" in message or "unknown cost, at most 50 us" in message
    assert instance.cost is not None
    if instance.cost.before_us is None:  # bpftrace had its probes in before there were two samples without them
        assert instance.probe.cost is None
        return
    assert instance.probe.cost is not None
    assert least_us < instance.probe.cost < most_us
    assert "measured at run time" in instance.probe.why


def test_allowed_cost_keeps_the_window(busy: int) -> None:
    result = sweep(busy, SweepSettings(duration_s=3, max_cost=64))
    [instance] = result.hosts[0].instances
    assert instance.window_s == pytest.approx(3, abs=0.3)
    assert result.warnings == []
    assert instance.cost is not None
    assert (instance.probe.cost is None) is (instance.cost.before_us is None)


def test_cost_that_cannot_be_measured_is_the_worst(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a busy machine, which takes too few samples in the first second."""
    monkeypatch.setattr("fleettrace.sweep.trace_bounds.most_us", lambda _cost: None)
    result = sweep(busy, SweepSettings(duration_s=20, max_cost=0.005))
    [instance] = result.hosts[0].instances
    assert instance.window_s is not None
    assert instance.window_s < 10
    [warning] = result.warnings
    assert (warning.code, "unknown cost, at most 50 us" in warning.message) == ("window-shortened", True)
