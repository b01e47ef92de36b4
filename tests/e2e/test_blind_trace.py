"""A trace that has counted nothing of the traffic is never `ok`, whatever the cause."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command as Request
from tests.e2e.command import Command, Done
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab

SAMPLED_S = 1.5
"""Seconds after which memcached's counters have been sampled within the window."""
REQUESTS = [Request("set", (b"a",))] * 23 + [Request("get", (b"a", b"b"))] * 101
BLINDER = """\
#!/bin/bash
# bpftrace with a program that counts the requests of no process, as in a foreign pid namespace.
for argument; do
    shift
    set -- "$@" "$(printf %s "$argument" | sed 's/pid == [0-9]*/pid == 1/g')"
done
exec bpftrace "$@" < <(sed 's/pid == [0-9]*/pid == 1/g')
"""


@pytest.fixture(scope="module")
def served_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), DEBIAN) as server:
        yield server


@pytest.fixture
def blinder(tmp_path: Path) -> Path:
    script = tmp_path / "bpftrace"
    script.write_text(BLINDER)
    script.chmod(0o755)
    return script


def inventory_with(server: Served, script: Path) -> Path:
    inventory = script.parent / "inventory.yaml"
    text = server.inventory.read_text()
    inventory.write_text(text.replace("fleettrace_instances", f"fleettrace_bpftrace: {script}, fleettrace_instances"))
    return inventory


def blinded(server: Served, script: Path, requests: Sequence[Request], *options: str) -> Done:
    """Trace the server with a bpftrace that counts none of these requests, which are sent well inside the window."""
    inventory = inventory_with(server, script)
    with Command(["run", "-i", str(inventory), "--duration", "6s", "--output", "json", "-v", *options]) as command:
        command.wait_for_trace("here")
        time.sleep(SAMPLED_S)
        server.send(requests, 10_000)
        return command.finish()


def test_traffic_unseen_by_the_trace_is_blind(served_here: Served, blinder: Path) -> None:
    done = blinded(served_here, blinder, REQUESTS)
    host = done.host("here")
    assert (host["state"], host["error"]["code"]) == ("trace-failed", "blind")
    instance = host["instances"][0]
    assert (instance["state"], instance["requests"]) == ("trace-failed", None)
    assert instance["coverage"] == {"counted": 225, "traced": 0, "share": 0}
    assert done.status == 4
    assert done.report["totals"]["requests"] is None


def test_stopped_neighbours_do_not_hide_a_blind_trace(
    served_here: Served, blinder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ExitStack() as servers:
        stopped = [servers.enter_context(served(tmp_path_factory.mktemp("stopped"), DEBIAN)) for _ in range(8)]
        for server in stopped:
            os.kill(server.pid, signal.SIGSTOP)
        inventory = inventory_with(served_here, blinder)
        ports = ", ".join(str(server.port) for server in (*stopped, served_here))
        inventory.write_text(inventory.read_text().replace(f"[{served_here.port}]", f"[{ports}]"))
        with Command(["run", "-i", str(inventory), "--duration", "6s", "--output", "json", "-v"]) as command:
            command.wait_for_trace("here")
            time.sleep(SAMPLED_S)
            served_here.send(REQUESTS, 10_000)
            done = command.finish()
    by_port = {instance["ports"][0]: instance for instance in done.host("here")["instances"]}
    instance = by_port[served_here.port]
    assert (instance["state"], instance["error"]["code"], done.status) == ("trace-failed", "blind", 3)
    assert instance["coverage"] == {"counted": 225, "traced": 0, "share": 0}
    # The bytes that they read show that these had no traffic.
    assert {by_port[server.port]["state"] for server in stopped} == {"ok"}


def test_idle_memcached_is_ok_with_zero_requests(served_here: Served) -> None:
    done, _ = served_here.trace([])
    host = done.host("here")
    assert (host["state"], host["requests"], done.status) == ("ok", 0, 0)
    assert done.report["totals"]["coverage"] == {"counted": 0, "traced": 0, "share": None}


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Yield a memcached that requires a password (-Y), so that fleettrace cannot read its counters."""
    directory = tmp_path_factory.mktemp("protected")
    passwords = directory / "passwords"
    passwords.write_text("tester:secret\n")
    with served(directory, DEBIAN, "-u", "root", "-Y", str(passwords), ready=listens) as server:
        yield server


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(server: Served, *requests: bytes) -> None:
    """Log in and send requests that memcached answers with `END`."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
        connection.makefile("rb") as lines,
    ):
        connection.sendall(b"set auth 0 0 13\r\ntester secret\r\n")
        assert lines.readline() == b"STORED\r\n"
        for request in requests:
            connection.sendall(request)
            assert lines.readline() == b"END\r\n"


def test_unknown_coverage_certifies_nothing(protected: Served) -> None:
    with Command(["run", "-i", str(protected.inventory), "--duration", "4s", "--output", "json", "-v"]) as command:
        command.wait_for_trace("here")
        ask(protected, *[b"get a\r\n"] * 23)
        done = command.finish()
    assert (done.host("here")["state"], done.host("here")["requests"]) == ("ok", 23)
    assert (done.report["totals"]["coverage"], done.report["totals"]["coverage_unknown"]) == (None, ["here"])
    assert done.report["totals"]["certified"] == 0
    assert "coverage-unknown" in [warning["code"] for warning in done.report["warnings"]]


def test_bytes_read_without_counters_are_blind(protected: Served, blinder: Path) -> None:
    inventory = inventory_with(protected, blinder)
    with Command(["run", "-i", str(inventory), "--duration", "6s", "--output", "json", "-v"]) as command:
        command.wait_for_trace("here")
        time.sleep(SAMPLED_S)
        ask(protected, *[b"get " + b"k" * 250 + b"\r\n"] * 503)
        done = command.finish()
    assert (done.host("here")["state"], done.host("here")["error"]["code"], done.status) == ("trace-failed", "blind", 4)


def test_zombie_counts_as_ended(tmp_path: Path) -> None:
    with served(tmp_path, DEBIAN) as server:
        with Command(["run", "-i", str(server.inventory), "--duration", "5s", "--output", "json", "-v"]) as command:
            command.wait_for_trace("here")
            truth = server.send(REQUESTS, 10_000)
            time.sleep(SAMPLED_S)
            os.kill(server.pid, signal.SIGKILL)  # and does not wait for it
            done = command.finish()
        assert Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    host = done.host("here")
    assert (host["state"], host["error"]["code"]) == ("partial", "memcached-ended")
    assert host["requests"] == truth.total("here")


def test_process_under_two_names_is_counted_once(served_here: Served, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yaml"
    one = f"{{ansible_connection: local, fleettrace_instances: [{served_here.port}]}}"
    inventory.write_text(f"all: {{hosts: {{here: {one}, alias: {one}}}}}\n")
    with Command(["run", "-i", str(inventory), "--duration", "4s", "--output", "json", "-v"]) as command:
        command.wait_for_any_trace("here", "alias")
        truth = served_here.send(REQUESTS, 10_000)
        done = command.finish()
    assert done.status == 0
    assert done.report["totals"]["requests"] == truth.total("here")
    states = sorted((host["state"], host["requests"]) for host in done.report["hosts"])
    assert states == [("no-instances", None), ("ok", truth.total("here"))]
    (warning,) = [warning for warning in done.report["warnings"] if warning["code"] == "same-process"]
    (owner,) = {"here", "alias"} - {warning["host"]}
    assert re.search(rf"\b{served_here.pid}\b.*\b{owner}\b", warning["message"])


def test_stopped_bpftrace_does_not_lengthen_the_window(served_here: Served, tmp_path: Path) -> None:
    """The program counts to the end of its window in the kernel; bpftrace prints that after SIGCONT and SIGINT."""
    script, pid_file = tmp_path / "bpftrace", tmp_path / "pid"
    script.write_text(f'#!/bin/sh\necho $$ >{pid_file}\nexec bpftrace "$@"\n')
    script.chmod(0o755)
    inventory = inventory_with(served_here, script)
    with Command(["run", "-i", str(inventory), "--duration", "2s", "--output", "json", "-v"]) as command:
        command.wait_for_trace("here")
        tracer = int(pid_file.read_text())
        os.kill(tracer, signal.SIGSTOP)
        truth = served_here.send(REQUESTS, 10_000)
        time.sleep(6)
        served_here.send(REQUESTS, 10_000)
        os.kill(tracer, signal.SIGINT)
        os.kill(tracer, signal.SIGCONT)
        done = command.finish()
    host = done.host("here")
    assert host["requests"] == truth.total("here")
    assert host["instances"][0]["window_s"] == pytest.approx(2, abs=0.2)


def test_steady_traffic_has_a_steady_timeline(served_here: Served, tmp_path: Path) -> None:
    """bpftrace is stopped for 2.5 s: the slice that it ends late covers several buckets."""
    script, pid_file = tmp_path / "bpftrace", tmp_path / "pid"
    script.write_text(f'#!/bin/sh\necho $$ >{pid_file}\nexec bpftrace "$@"\n')
    script.chmod(0o755)
    arguments = ["run", "-i", str(inventory_with(served_here, script)), "--duration", "7s", "--output", "json", "-v"]
    over = threading.Event()
    with Command(arguments) as command:
        load = threading.Thread(target=steadily, args=(served_here, over))
        load.start()
        try:
            command.wait_for_trace("here")
            time.sleep(2.3)
            tracer = int(pid_file.read_text())
            os.kill(tracer, signal.SIGSTOP)
            time.sleep(2.5)
            os.kill(tracer, signal.SIGCONT)
            done = command.finish()
        finally:
            over.set()
            load.join()
    timeline = done.host("here")["timeline"]
    mean = sum(timeline) / len(timeline)
    assert len(timeline) == 7
    assert sum(timeline) == done.host("here")["requests"]
    assert all(0.5 * mean < count < 1.6 * mean for count in timeline), timeline


def steadily(server: Served, over: threading.Event) -> None:
    """Send 10 requests every 50 ms."""
    due = time.monotonic()
    while not over.wait(max(0.0, due - time.monotonic())):
        server.send([Request("get", (b"a",))] * 10, 10)
        due += 0.05
