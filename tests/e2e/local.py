"""One memcached on this machine, traced without ssh: for behaviour that depends on the binary, not on the login."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.load import Client
from fleettrace.lab.memcached import read_stats
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import TracedInstance, Truth
from tests.binary.builds import extra_binaries
from tests.e2e.command import Command, Done

__all__ = ["ADDRESS", "Served", "answers", "binary", "free_port", "names", "served"]

ADDRESS = "127.0.0.1"


def names() -> list[str]:
    """Return the names that `binary` accepts: `built`, and the unstripped binaries in the tests' cache."""
    return ["built", *sorted(_extra())]


def binary(name: str) -> Path:
    """Return the path of an unstripped memcached; `built` is built on first use."""
    return _extra()[name] if name != "built" else memcached_binary()


def _extra() -> dict[str, Path]:
    found = {path.parent.name: path for path in extra_binaries()}
    return {name: path for name, path in found.items() if re.fullmatch(r"1\.\d+\.\d+-plain", name)}


@dataclass(frozen=True, slots=True)
class Served:
    """A running memcached."""

    pid: int
    port: int
    inventory: Path

    def trace(
        self,
        requests: Sequence[Request],
        *options: str,
        seconds: int = 3,
        at_once: int = 10_000,
        variables: Mapping[str, str] | None = None,
    ) -> tuple[Done, Truth]:
        """Trace it while the requests are carried out. Return the command's end, with a JSON report, and the truth."""
        arguments = ["run", "-i", str(self.inventory), "--duration", f"{seconds}s", "--top", "100000", "-v"]
        with Command([*arguments, "--output", "json", *options], variables=variables) as command:
            command.wait_for_trace("here")
            truth = self.send(requests, at_once)
            assert not command.has_finished("here"), "the traffic outlasted the window"
            return command.finish(), truth

    def send(self, requests: Sequence[Request], at_once: int) -> Truth:
        """Carry out the requests and return the truth, reading the answers of `at_once` requests at a time."""
        with Client(TracedInstance("here", self.port), ADDRESS) as client:
            for start in range(0, len(requests), at_once):
                client.send(requests[start : start + at_once])
            return client.truth

    def stats(self) -> dict[str, str]:
        """Return memcached's own counters."""
        return read_stats(ADDRESS, self.port)


@contextmanager
def served(
    directory: Path,
    binary: Path,
    *options: str,
    bpftrace: str = "bpftrace",
    ready: Callable[[int], bool] | None = None,
    within: Sequence[str] = (),
) -> Iterator[Served]:
    """Run `binary` with more `options` and keep its files in `directory`.

    `bpftrace` is the command that traces it; `ready` returns whether the port is served; `within` is the beginning of a
    command line that runs the rest of it, such as setpriv(1).
    """
    port = free_port()
    server = subprocess.Popen(
        [*within, str(binary), "-u", "nobody", "-l", ADDRESS, "-p", str(port), "-t", "2", "-m", "64", *options],
        stdin=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: (ready or answers)(port), f"memcached on port {port} does not start")
        inventory = directory / "inventory.yaml"
        traced_by = "" if bpftrace == "bpftrace" else f", fleettrace_bpftrace: {bpftrace}"
        host = f"ansible_connection: local, fleettrace_instances: [{port}]{traced_by}"
        inventory.write_text(f"all: {{hosts: {{here: {{{host}}}}}}}\n")
        yield Served(server.pid, port, inventory)
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    """Return a TCP port that no process listens on."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
    return port


def answers(port: int) -> bool:
    """Return whether a memcached serves the port."""
    try:
        return bool(read_stats(ADDRESS, port)["pid"])
    except OSError:
        return False
