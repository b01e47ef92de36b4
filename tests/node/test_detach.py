"""A script left on a node: it runs at its time, ends on request, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.node.detach import GONE_STATUS, MAX_STDOUT, collect, leave, read_clock, remove
from fleettrace.transport.interface import Chunk, Connection, Limits, Stream, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.transport.running import output

pytestmark = pytest.mark.lab


@pytest.fixture
def node() -> Iterator[Connection]:
    with closing(LocalTransport().connect(Target("here"))) as connection:
        yield connection


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def runs(directory: str) -> list[str]:
    """Return the processes with this directory in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if directory.encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def gone(directory: str, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not Path(directory).exists() and not runs(directory):
            return True
        time.sleep(0.05)
    return False


def test_detached_script_starts_on_time_with_unchanged_output(node: Connection) -> None:
    starts = uptime() + 1.0
    directory = leave(node, b"cut -d ' ' -f 1 /proc/uptime; printf 'a\\0b'; printf 'words\\0' >&2", starts, 60)
    execution = collect(node, directory, 20)
    printed = output(execution)
    assert execution.exit_status == 0
    began, rest = printed[Stream.OUT].split(b"\n")
    assert starts - 0.02 <= float(began) < starts + 2
    assert (rest, printed[Stream.ERR]) == (b"a\0b", b"words\0")
    assert Path(directory).exists(), "it may be lost on its way, and asked for again"
    remove(node, directory)
    assert gone(directory, 3)


def test_detached_directory_is_private_and_unpredictable(node: Connection) -> None:
    directories = [Path(leave(node, b"read -r _", 0, 60)) for _ in range(2)]
    try:
        for directory in directories:
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in directory.iterdir()} == {0}
        assert directories[0].name != directories[1].name
    finally:
        for directory in directories:
            remove(node, str(directory))
    assert all(gone(str(directory), 3) for directory in directories)


def test_whoever_stops_the_collection_stops_the_script(node: Connection) -> None:
    directory = leave(node, b"exec 3<&0; echo begun; read -r _ <&3; echo stopped", 0, 60)
    execution = collect(node, directory, 20)
    time.sleep(0.5)
    execution.stop()
    assert output(execution)[Stream.OUT] == b"begun\nstopped\n"
    remove(node, directory)
    assert gone(directory, 3)


def test_one_that_has_not_begun_never_does(node: Connection) -> None:
    directory = leave(node, b"echo begun", uptime() + 60, 60)
    execution = collect(node, directory, 20)
    execution.stop()
    assert output(execution)[Stream.OUT] == b""
    remove(node, directory)
    assert gone(directory, 3)


def test_uncollected_output_removes_itself(node: Connection) -> None:
    directory = leave(node, b"echo unheard", 0, 1)
    assert gone(directory, 4)
    execution = collect(node, directory, 20)
    assert output(execution)[Stream.OUT] == b""
    assert execution.exit_status == GONE_STATUS


def test_its_output_is_bounded(node: Connection) -> None:
    directory = leave(node, b"yes", 0, 60)
    execution = collect(node, directory, 20)
    assert sum(len(chunk.data) for chunk in execution) == MAX_STDOUT
    remove(node, directory)
    assert gone(directory, 3)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_any_shell_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    tools = ("sh",) if shell != "busybox" else ("sh", "setsid", "mktemp", "mkfifo", "head", "cat", "sleep", "tr", "rm")
    for tool in tools:
        (tmp_path / tool).symlink_to(str(shutil.which(shell)))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with closing(LocalTransport().connect(Target("here"))) as node:
        directory = leave(node, b"exec 3<&0; echo begun; read -r _ <&3; echo stopped", uptime() + 0.5, 60)
        execution = collect(node, directory, 20)
        time.sleep(1)
        execution.stop()
        assert output(execution)[Stream.OUT] == b"begun\nstopped\n"
        remove(node, directory)
    assert gone(directory, 3)


@pytest.mark.parametrize(
    "name", ["/run/fleettrace-0123456789a/../..", "/", "/run/fleettrace-$(id)", "/tmp/fleettrace-0123456789ab"]
)
def test_collect_refuses_foreign_directory(node: Connection, name: str) -> None:
    with pytest.raises(ValueError, match="not a directory of a detached trace"):
        collect(node, name, 1)
    with pytest.raises(ValueError, match="not a directory of a detached trace"):
        remove(node, name)


class Liar:
    """A node that answers with any directory."""

    def __init__(self, report: bytes) -> None:
        self._report = report
        self.exit_status: int | None = 0

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Liar:
        assert script
        assert limits.seconds
        assert not keep_shell
        return self

    def __iter__(self) -> Iterator[Chunk]:
        yield Chunk(Stream.OUT, self._report)

    def stop(self) -> None:
        return

    def end_within(self, seconds: float) -> None:
        assert seconds

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (b"folder\0/etc\0end\0\0", "not-detached"),
        (b"folder\0/run/fleettrace-0123456789ab\n\0end\0\0", "not-detached"),
        (b"failed\0no room\0end\0\0", "not-detached"),
        (b"folder\0/run", "detach-garbled"),
        (b"", "detach-garbled"),
    ],
)
def test_leave_refuses_foreign_directory(report: bytes, code: str) -> None:
    with pytest.raises(HostError) as caught:
        leave(Liar(report), b"true", 0, 60)
    assert caught.value.code == code


def test_clock_error_is_bounded_by_the_round_trip(node: Connection) -> None:
    clock = read_clock(node)
    assert clock.within_s < 2
    assert clock.skew_s is not None
    assert abs(clock.skew_s) <= clock.within_s + 0.05
    now = time.monotonic()
    assert abs(clock.uptime_at(now) - uptime()) <= clock.within_s + 0.05
    assert abs(clock.monotonic_at(now) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) <= (clock.within_s + 0.05) * 1e9
    assert abs(clock.controllers(clock.monotonic_at(now)) - now) < 1e-6


@pytest.mark.parametrize("report", [b"", b"wall\0x\0uptime\0y\0monotonic\0\0end\0\0", b"wall\x001.5\0end\0\0"])
def test_read_clock_refuses_missing_time(report: bytes) -> None:
    with pytest.raises(HostError):
        read_clock(Liar(report))
