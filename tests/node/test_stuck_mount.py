"""Processes on a stuck mount do not delay a discovery, and files named like sockets give no process a port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.system import wait_until
from fleettrace.node.discovery import discover, discovery_script, parse_discovery
from fleettrace.node.model import Discovery
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import memcached
from tests.node.ran import ran

pytestmark = pytest.mark.lab


def looked(shell: list[str]) -> Discovery:
    script = discovery_script(["echo", "bpftrace v0.17.0"], "host")
    return parse_discovery(ran(shell, script).stdout)


def ports_of(found: Discovery, pid: int) -> tuple[int, ...]:
    [instance] = [one for one in found.instances if one.pid == pid]
    return instance.ports


def listening() -> dict[int, str]:
    """The inodes of listening sockets, by port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16): fields[9] for fields in lines if fields[3] == "0A"}


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "ash"]], ids=lambda words: words[-1])
@pytest.mark.parametrize(
    "name",
    ["socket:[N]", "x -> socket:[N]", "x\nlrwx------ 1 0 0 64 2026-01-01 00:00 7 -> socket:[N]", "x\nsocket:[N]"],
)
def test_file_named_like_socket_has_no_port(shell: list[str], name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        honest, connect = stack.enter_context(memcached(memcached_binary()))
        port = connect().connection.getpeername()[1]
        path = tmp_path / name.replace("N", listening()[port])
        path.touch()
        with path.open() as held:
            os.set_inheritable(held.fileno(), True)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                other = probe.getsockname()[1]
            words = [str(memcached_binary()), "-u", "nobody", "-l", "127.0.0.1", "-p", str(other), "-t", "2", "-m", "8"]
            forger = subprocess.Popen(words, close_fds=False)
            stack.callback(forger.wait)
            stack.callback(forger.kill)
            wait_until(lambda: other in listening(), "memcached does not start")
        found = looked(shell)
        assert ports_of(found, honest) == (port,)
        assert ports_of(found, forger.pid) == (other,)


@contextmanager
def frozen_mount(directory: Path) -> Iterator[tuple[int, int]]:
    """Run a memcached from a stuck FUSE mount; yield its pid and that of the file system."""
    if shutil.which("bindfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("bindfs is not installed, or there is no /dev/fuse")
    origin, place = directory / "origin", directory / "mount"
    origin.mkdir()
    place.mkdir()
    shutil.copy(memcached_binary(), origin / "memcached")
    served = subprocess.Popen(
        ["bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,direct_io", str(origin), str(place)]
    )
    try:
        wait_until(place.is_mount, "bindfs does not mount")
        with memcached(place / "memcached") as (pid, _):
            os.kill(served.pid, signal.SIGSTOP)
            try:
                yield pid, served.pid
            finally:
                os.kill(served.pid, signal.SIGCONT)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)
        served.terminate()
        served.wait(10)


def test_stuck_mount_does_not_delay_discovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETTRACE_TEST", str(tmp_path))
    with frozen_mount(tmp_path) as (stuck, _), memcached(memcached_binary()) as (pid, _):
        began = time.monotonic()
        with closing(LocalTransport().connect(Target("here"))) as node:
            found = discover(node, ["echo", "bpftrace v0.17.0"], "host")
        assert time.monotonic() - began < 30
        assert stuck in found.facts.stuck
        assert stuck not in {one.pid for one in found.instances}
        assert pid in {one.pid for one in found.instances}
        assert not waiting_on(stuck, str(tmp_path).encode())


CONTROLLER = """
from fleettrace.node.discovery import discover
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
discover(LocalTransport().connect(Target("here")), ["echo", "bpftrace v0.17.0"], "host")
"""


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox ash"])
def test_killed_controller_leaves_nothing_on_stuck_mount(shell: str, tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "sh").write_text(f'#!/bin/sh\nexec {shell} "$@"\n')
    (directory / "sh").chmod(0o755)
    environment = os.environ | {"FLEETTRACE_TEST": str(tmp_path), "PATH": f"{directory}:{os.environ['PATH']}"}
    with frozen_mount(tmp_path) as (stuck, _):
        controller = subprocess.Popen([sys.executable, "-c", CONTROLLER], env=environment)
        try:
            wait_until(lambda: waiting_on(stuck, str(tmp_path).encode()), "nothing looks at the mount", seconds=30)
        finally:
            controller.kill()
            controller.wait()
        # Each step has 8 s of its own, and would be followed by others.
        wait_until(lambda: not marked(str(tmp_path).encode()), "something is left behind", seconds=4)


def marked(mark: bytes) -> list[int]:
    """Processes that have `mark` in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if b"FLEETTRACE_TEST=" + mark in (directory / "environ").read_bytes():
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def waiting_on(pid: int, mark: bytes) -> list[str]:
    """Processes that look at the binary of `pid` and have `mark` in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes()
            if f"/proc/{pid}/exe".encode() in words and mark in (directory / "environ").read_bytes():
                found.append((directory / "cmdline").read_text())
        except OSError:
            continue
    return found
