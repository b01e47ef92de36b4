"""The local transport: bounds, end of a script, cleanup. What it tests of `Session` holds for SSH as well."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.system import wait_until
from fleettrace.transport.interface import Become, Connection, Limits, Stream, Target
from fleettrace.transport.local.transport import LocalTransport
from fleettrace.transport.session import READ_SIZE
from tests.transport.running import LIMITS, failing, output, run, status

HERE = Target("here")


def zombies() -> list[str]:
    """Return the children of this process that have ended and were not reaped."""
    listed = subprocess.run(
        ["ps", "-o", "stat=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if line.startswith("Z")]


@pytest.fixture
def local() -> Iterator[Connection]:
    connection = LocalTransport().connect(HERE)
    yield connection
    connection.close()


def running(mark: str) -> list[int]:
    """Return the processes with `mark` among their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_returns_bytes_and_the_exit_status() -> None:
    assert run(LocalTransport(), HERE, b"printf 'a\\0\\377\\r\\n'; echo e >&2; exit 9") == (b"a\0\xff\r\n", b"e\n", 9)


def test_signal_leaves_no_status() -> None:
    assert run(LocalTransport(), HERE, b"echo a; kill -9 $$") == (b"a\n", b"", None)


def test_chunks_are_small_and_complete(local: Connection) -> None:
    chunks = list(local.start(b"head -c 1000003 /dev/zero; head -c 1000003 /dev/zero >&2", LIMITS))
    assert max(len(chunk.data) for chunk in chunks) <= READ_SIZE
    assert {stream: len(data) for stream, data in output(chunks).items()} == {Stream.OUT: 1000003, Stream.ERR: 1000003}


def test_output_streams_while_the_script_runs(local: Connection) -> None:
    execution = local.start(b"echo first; cat >/dev/null; echo last", LIMITS)
    chunks = iter(execution)
    assert next(chunks).data == b"first\n"
    assert status(execution) is None
    execution.stop()
    execution.stop()
    assert output(chunks)[Stream.OUT] == b"last\n"
    assert status(execution) == 0


def test_time_limit_ends_a_script(local: Connection) -> None:
    started = time.monotonic()
    with failing("script-timeout", "timeout"):
        list(local.start(b"exec sleep 60", Limits(0.3, 1000)))
    assert time.monotonic() - started < 3


def test_end_within_shortens_the_time_limit(local: Connection) -> None:
    execution = local.start(b"echo begun; exec sleep 60", LIMITS)
    chunks = iter(execution)
    assert next(chunks).data == b"begun\n"
    started = time.monotonic()
    execution.end_within(1000)
    execution.end_within(0.3)
    execution.end_within(1000)
    with failing("script-timeout", "timeout"):
        list(chunks)
    assert time.monotonic() - started < 3


def test_time_limit_ends_a_flood(local: Connection) -> None:
    with failing("script-timeout"):
        list(local.start(b"yes", Limits(0.5, 1 << 60)))


def test_output_limit_ends_a_script(local: Connection) -> None:
    received = 0
    with failing("output-limit", "trace-failed"):
        for chunk in local.start(b"yes | head -c 60000; yes >&2", Limits(30, 100_000)):
            received += len(chunk.data)
    assert 60_000 < received <= 100_000


def test_close_ends_the_iteration_of_another_thread(local: Connection) -> None:
    execution = local.start(b"sleep 60", LIMITS)
    threading.Timer(0.2, execution.close).start()
    with failing("closed", "interrupted"):
        list(execution)
    execution.close()


def test_closed_connection_runs_no_scripts(local: Connection) -> None:
    execution = local.start(b"sleep 60", LIMITS)
    threading.Timer(0.2, local.close).start()
    with failing("closed"):
        list(execution)
    with failing("connection-closed"):
        local.start(b"true", LIMITS)


def test_close_ends_all_processes_of_the_script(local: Connection) -> None:
    mark = f"8{os.getpid()}"
    script = f"trap '' TERM; timeout 99 sleep {mark} & (sleep {mark} &) ; echo up; sleep {mark}".encode()
    execution = local.start(script, LIMITS)
    next(iter(execution))
    wait_until(lambda: len(running(mark)) >= 3, "not all of them have begun")
    execution.close()
    assert running(mark) == []


def test_root_needs_no_sudo() -> None:
    if os.getuid() != 0:
        pytest.skip("not root")
    target = Target("here", become=Become(password="never sent"))
    assert run(LocalTransport(), target, b"id -u; env | grep -c ^SUDO_") == (b"0\n0\n", b"", 1)


def test_leaks_no_descriptors_and_children() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run(LocalTransport(), HERE, b"sleep 0 & echo x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert zombies() == []
