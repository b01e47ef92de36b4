"""The node's system log gets a line at a trace's start and one at its end; a blocked log does not stop the trace."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.node.trace_script import log_entry
from tests.e2e.command import environment
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab

NODE = """
mount --make-rprivate / && mount -t tmpfs tmpfs /dev && ln -s /proc/self/fd /dev/fd || exit 9
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=:; set -- $node "$@"; unset IFS
    mknod -m 666 "/dev/$1" c "$2" "$3"; shift 3
done
mkdir -m 1777 /dev/shm
[ -z "$1" ] || ln -s "$1" /dev/log
shift; exec "$@"
"""
"""Runs a command with a private /dev, in which /dev/log is the test's socket."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), DEBIAN) as one:
        yield one


def traced(server: Served, log: Path | None, *options: str) -> tuple[dict[str, str], float]:
    """Trace on that node. Return the run's id with the host's state, and the seconds that it took."""
    command = [sys.executable, "-m", "fleettrace", "run", "-i", str(server.inventory), "--duration", "2s"]
    started = time.monotonic()
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", NODE, "sh", str(log or ""), *command, "--no-store", "--output", "json", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(LOGNAME="eve\n\x1b]0;"),
    )
    document = json.loads(done.stdout)
    return {"run": document["run"]["id"], "state": document["hosts"][0]["state"]}, time.monotonic() - started


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["attended", "detached"])
def test_trace_logs_its_start_and_end(server: Served, tmp_path: Path, options: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        report, _ = traced(server, tmp_path / "log", *options)
        log.settimeout(5)
        lines = [log.recv(4096).decode("ascii") for _ in range(2)]
        log.setblocking(False)
        with pytest.raises(BlockingIOError):
            log.recv(4096)
    assert report["state"] == "ok"
    common = rf"run {report['run']} by eve\?\?\?0\?@\S+, memcached pids {server.pid}$"
    assert re.search(rf" fleettrace: trace starts: {common}", lines[0])
    assert re.search(rf" fleettrace: trace ended with status 0: {common}", lines[1])


def test_blocked_log_does_not_stop_the_trace(server: Served, tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler,
    ):
        log.bind(str(tmp_path / "log"))
        filler.connect(str(tmp_path / "log"))
        filler.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                filler.send(b"x")
        report, seconds = traced(server, tmp_path / "log")
    assert report["state"] == "ok"
    assert seconds < 60


def test_node_without_a_log_is_traced(server: Served) -> None:
    assert traced(server, None)[0]["state"] == "ok"


def test_log_entry_is_bounded_printable_ascii() -> None:
    text = log_entry("r" * 100 + "\n", "\x1b\xe9" * 100, range(4096))
    assert len(text) < 800
    assert (text.isascii(), text.isprintable()) == (True, True)
    assert text.endswith("49 and 4046 more")
