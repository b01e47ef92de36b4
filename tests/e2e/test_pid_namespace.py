"""In a PID namespace, where bpftrace and /proc use other pids, counts are exact or the host is unsupported."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleettrace.lab.load import Client
from fleettrace.lab.memcached import DEBIAN, read_stats
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import TracedInstance, Truth
from tests.e2e.command import Command, Done
from tests.e2e.fleet import keys_of
from tests.e2e.who_clients import OtherClient

pytestmark = pytest.mark.lab

SCRIPT = str(Path(__file__).parents[2] / "bpftrace" / "slow-commands.bt")
REQUESTS = (
    [Request("set", (b"a",))] * 23
    + [Request("get", (b"a", b"b"))] * 101
    + [Request("get", (b"k" * 200,))] * 53
    + [Request("delete", (b"b",))] * 7
)


@dataclass(frozen=True, slots=True)
class Nested:
    """Memcached processes in their own PID namespace, with a /proc that shows only them."""

    pids: tuple[int, ...]
    """In the machine's PID namespace."""
    ports: tuple[int, ...]
    beside: int
    """The port of a process of the same file outside of the namespace."""
    inventory: Path

    @property
    def entering(self) -> list[str]:
        return ["nsenter", "-t", str(self.pids[0]), "-p", "-m"]

    def with_bpftrace(self, script: Path, text: str) -> Nested:
        """Return the same with another bpftrace command."""
        script.write_text(text)
        script.chmod(0o755)
        inventory = script.with_suffix(".yaml")
        more = f"ansible_connection: local, fleettrace_bpftrace: {script}"
        inventory.write_text(self.inventory.read_text().replace("ansible_connection: local", more))
        return replace(self, inventory=inventory)

    def trace(self, requests: Sequence[Request], *options: str) -> tuple[Done, Truth]:
        """Run fleettrace inside while each process carries out the requests."""
        arguments = ["run", "-i", str(self.inventory), "--duration", "4s", "--top", "1000", "--output", "json", "-v"]
        with Command([*arguments, *options], inside=self.entering) as command, ExitStack() as clients:
            command.wait_for_trace("here")
            truth = Truth()
            for port in self.ports:
                client = clients.enter_context(Client(TracedInstance("here", port), "127.0.0.1"))
                client.send(requests)
                truth = truth + client.truth
            clients.enter_context(Client(TracedInstance("there", self.beside), "127.0.0.1")).send(REQUESTS)
            return command.finish(), truth


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nested(directory: Path, binary: Path) -> Iterator[Nested]:
    """Run two processes of one file in a namespace, and one outside of it."""
    ports = (free_port(), free_port(), free_port())
    binary = Path(shutil.copy(binary, directory / "memcached"))
    directory.chmod(0o755)
    server = f"{binary} -u root -l 127.0.0.1 -t 2 -p"
    # The shell becomes the second one and keeps its start time, which must differ from the first by over 10 ms.
    inner = f"mount -t proc proc /proc; sleep 0.3; {server} {ports[0]} & sleep 0.3; exec {server} {ports[1]}"
    outer = subprocess.Popen(["unshare", "-p", "-f", "-m", "sh", "-c", inner], start_new_session=True)
    beside = subprocess.Popen([*server.split(), str(ports[2])])
    try:
        wait_until(lambda: all(answers(port) for port in ports), "memcached does not start")
        pids = tuple(pid_of(port) for port in ports[:2])
        inventory = directory / "inventory.yaml"
        inventory.write_text("all: {hosts: {here: {ansible_connection: local}}}\n")
        yield Nested(pids, ports[:2], ports[2], inventory)
    finally:
        beside.kill()
        beside.wait()
        for child in children(outer.pid):
            os.kill(child, signal.SIGKILL)
        outer.wait()


def answers(port: int) -> bool:
    try:
        return bool(read_stats("127.0.0.1", port)["pid"])
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(port: int) -> int:
    """Return the process that listens on a port, in the machine's PID namespace."""
    lines = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"pid=(\d+)", lines)
    assert found is not None, lines
    return int(found[1])


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nested]:
    with nested(tmp_path_factory.mktemp("nested"), DEBIAN) as processes:
        yield processes


def test_requests_are_counted_by_key_and_process(inside: Nested) -> None:
    done, truth = inside.trace(REQUESTS, "--misses")
    host = done.host("here")
    assert (host["state"], host["error"], done.status) == ("ok", None, 0)
    assert host["requests"] == truth.total("here") == 2 * 285
    assert [instance["requests"] for instance in host["instances"]] == [285, 285]
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert done.report["totals"]["coverage"]["share"] == 1
    misses = {row["key"]: row["misses"] for row in done.report["keys"]}
    assert misses == {"a": 0, "b": 2 * 108, "k" * 200: 2 * 53}


@pytest.mark.parametrize("arguments", [["run", "--duration", "1s"], ["check"]])
def test_bpftrace_without_kernel_types_is_unsupported(inside: Nested, tmp_path: Path, arguments: list[str]) -> None:
    untyped = inside.with_bpftrace(tmp_path / "bpftrace", '#!/bin/sh\nBPFTRACE_BTF=/nonexistent exec bpftrace "$@"\n')
    command_line = [*arguments, "-i", str(untyped.inventory), "--output", "json"]
    with Command(command_line, inside=inside.entering) as command:
        done = command.finish()
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("unsupported", "pid-namespace", 4)
    assert "--pid=host" in host["error"]["message"]


def test_user_program_is_unsupported(inside: Nested) -> None:
    arguments = [
        "run",
        "-i",
        str(inside.inventory),
        "--duration",
        "1s",
        "--output",
        "json",
        "--script",
        SCRIPT,
    ]
    with Command(arguments, inside=inside.entering) as command:
        done = command.finish()
    host = done.host("here")
    assert (host["state"], host["error"]["code"]) == ("unsupported", "pid-namespace")


def test_kernel_without_btf_is_unsupported(inside: Nested) -> None:
    masked = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /sys/kernel/btf && exec "$@"', "sh"]
    arguments = ["run", "-i", str(inside.inventory), "--duration", "1s", "--output", "json"]
    with Command(arguments, inside=[*inside.entering, *masked]) as command:
        done = command.finish()
    host = done.host("here")
    assert (host["state"], host["error"]["code"]) == ("unsupported", "pid-namespace")
    assert "/sys/kernel/btf/vmlinux" in host["error"]["message"]


def test_clients_of_a_key_are_counted(inside: Nested) -> None:
    arguments = ["who", "unset", "-i", str(inside.inventory), "--duration", "8s", "-v", "--output", "json"]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(OtherClient(f"127.0.0.{number}", "127.0.0.1", port))
            for number, port in enumerate((*inside.ports, inside.beside), 2)
        ]
        with Command(arguments, inside=inside.entering) as command:
            command.wait_for_trace("here")
            for number, client in enumerate(clients, 2):
                client.order("open")
                client.order("get", "unset", str(number))
            assert not command.has_finished("here"), "the traffic outlasted the window"
            done = command.finish()
    [found] = done.report["keys"]
    assert {one["client"]: one["requests"] for one in found["clients"]} == {"127.0.0.2": 2, "127.0.0.3": 3}
    assert (found["requests"], found["unknown"]) == (5, 0)
