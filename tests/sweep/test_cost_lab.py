"""A memcached that cannot be asked how busy it is: it is counted for a second, and its coverage is not known."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.summary.run import RunInfo, RunResult
from fleettrace.sweep.engine import Sweep
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.transport.interface import Target
from fleettrace.transport.local import LocalTransport

pytestmark = pytest.mark.lab


@contextmanager
def under_load(path: Path) -> Iterator[int]:
    """A memcached at a unix socket, asked for one key again and again; its pid."""
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
    task = HostTask("here", Target("here"), LocalTransport(), wanted=lambda instance: instance.pid == pid)
    info = RunInfo("r", datetime.now(UTC), "here", settings.duration_s, "0")
    return Sweep([task], settings, info, BinaryCatalog(None)).run()


def test_it_is_traced_for_as_long_as_a_trace_of_a_second_says_is_affordable(tmp_path: Path) -> None:
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
