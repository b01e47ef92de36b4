"""A binary is fetched from the process that runs it, completely or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.planning import fetch_binary
from fleettrace.transport.interface import Connection, Target
from fleettrace.transport.local.transport import LocalTransport


@pytest.fixture
def connection() -> Iterator[Connection]:
    made = LocalTransport().connect(Target("here"))
    yield made
    made.close()


def running(pid: int, size: int) -> Instance:
    return Instance(
        pid=pid, start=1, binary=NodeBinary("1:1", size, None), exe=b"/x", user=None, ports=(), container=None
    )


def test_a_binary_comes_through_as_it_is(connection: Connection) -> None:
    data = Path(sys.executable).read_bytes()
    assert fetch_binary(connection, running(os.getpid(), len(data))) == data


def test_fetch_binary_without_gzip(connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sh", "cat", "head", "id", "sleep"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tmp_path))
    data = Path(sys.executable).read_bytes()
    assert fetch_binary(connection, running(os.getpid(), len(data))) == data


def test_a_deleted_binary_is_read_too(connection: Connection, tmp_path: Path) -> None:
    program = tmp_path / "sleep"
    shutil.copy2("/bin/sleep", program)
    data = program.read_bytes()
    with subprocess.Popen([program, "60"]) as process:
        try:
            program.unlink()
            assert fetch_binary(connection, running(process.pid, len(data))) == data
        finally:
            process.kill()


def test_another_size_than_was_seen_is_an_error(connection: Connection) -> None:
    with pytest.raises(HostError, match=r"of 7 bytes") as caught:
        fetch_binary(connection, running(os.getpid(), 7))
    assert caught.value.code == "binary-unreadable"


def test_fetch_binary_of_ended_process_fails(connection: Connection) -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    with pytest.raises(HostError, match=r"did the process end\?") as caught:
        fetch_binary(connection, running(process.pid, 7))
    assert "\n" not in caught.value.message
