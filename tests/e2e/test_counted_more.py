"""A trace that counts more than memcached can have served certifies nothing; a correct one raises no warning."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from tests.e2e.command import Command, Done
from tests.e2e.local import ADDRESS, Served, served
from tests.matrix import requests as matrix

pytestmark = pytest.mark.lab

LIAR = """\
#!/usr/bin/python3
# bpftrace with counts that are too large.
import os, re, subprocess, sys

if any(word in ("--version", "-V", "--info") for word in sys.argv):
    os.execvp("bpftrace", ["bpftrace", *sys.argv[1:]])
tracer = subprocess.Popen(["bpftrace", *sys.argv[1:]], stdout=subprocess.PIPE)
for line in tracer.stdout:
    more = re.sub(rb"\\]: (\\d+)\\n", lambda found: b"]: %d\\n" % (int(found[1]) * FACTOR), line)
    sys.stdout.buffer.write(more)
    sys.stdout.buffer.flush()
sys.exit(tracer.wait())
"""
END = b"mn\r\n"
GETS = b"get realkey\r\n" * 1009
UNCOUNTED = (
    b"set word 0 0 1\r\nx\r\nset number 0 0 1\r\n5\r\n"
    + b"me number\r\n" * 503
    + b"me none\r\n" * 503
    + b"incr word 1\r\n" * 1009
    + b"md number I\r\n" * 1009
    + b"set large 0 0 2000000\r\n"
    + b"x" * 2_000_000
    + b"\r\n"
)
"""Requests; memcached counts two of them, and the probe counts all."""
CREATING = (b"ma counter N30\r\ndelete counter\r\nmg item N30\r\nmd item\r\n") * 251
REFUSED = (
    b"cas none 0 0 1 3\r\n5\r\nadd word 0 0 1\r\n5\r\nappend none 0 0 1\r\n5\r\nset word 0 0 1\r\n5555\r\n"
) * 251


@pytest.fixture(scope="module")
def served_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), DEBIAN) as server:
        yield server


def every_kind(port: int) -> None:
    matrix.send(ADDRESS, port, 1)


def send(port: int, requests: bytes) -> None:
    with socket.create_connection((ADDRESS, port), timeout=10) as connection:
        connection.sendall(requests + END)
        answers = b""
        while not answers.endswith(b"MN\r\n"):
            answers = answers[-8:] + connection.recv(65536)


def traced(server: Served, requests: bytes | Callable[[int], None], directory: Path, factor: int = 1) -> Done:
    """Trace the requests with a bpftrace that multiplies the counts by `factor`."""
    liar = directory / "bpftrace"
    liar.write_text(LIAR.replace("FACTOR", str(factor)))
    liar.chmod(0o755)
    text = server.inventory.read_text()
    inventory = directory / "inventory.yaml"
    inventory.write_text(text.replace("fleettrace_instances", f"fleettrace_bpftrace: {liar}, fleettrace_instances"))
    with Command(["run", "-i", str(inventory), "--duration", "3s", "--output", "json", "-v"]) as command:
        command.wait_for_trace("here")
        time.sleep(0.2)
        if isinstance(requests, bytes):
            send(server.port, requests)
        else:
            requests(server.port)
        assert not command.has_finished("here"), "the traffic outlasted the window"
        return command.finish()


def codes(done: Done) -> set[str]:
    return {warning["code"] for warning in done.report["warnings"]}


def test_counts_beyond_what_memcached_read_are_implausible(served_here: Served, tmp_path: Path) -> None:
    done = traced(served_here, GETS, tmp_path, factor=1000)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("trace-failed", "implausible-output", 4)
    assert done.report["totals"]["requests"] is None


def test_counts_above_memcacheds_certify_nothing(served_here: Served, tmp_path: Path) -> None:
    done = traced(served_here, GETS, tmp_path, factor=2)
    instance = done.host("here")["instances"][0]
    assert (instance["state"], instance["requests"], instance["coverage"]) == ("ok", 2018, None)
    assert not instance["probe"]["exact"]
    assert done.report["totals"]["certified"] == 0
    assert "counted-more" in codes(done)


@pytest.mark.parametrize("requests", [UNCOUNTED, CREATING + REFUSED, every_kind], ids=["uncounted", "new", "all"])
def test_requests_uncounted_by_memcached_are_no_excess(
    served_here: Served, tmp_path: Path, requests: bytes | Callable[[int], None]
) -> None:
    done = traced(served_here, requests, tmp_path)
    host = done.host("here")
    assert (host["state"], done.status) == ("ok", 0)
    assert "counted-more" not in codes(done)
    assert host["instances"][0]["probe"]["exact"]
