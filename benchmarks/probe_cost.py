"""What a probe costs memcached: CPU per request, untraced and under each way of tracing, in one interleaved run.

    python -m benchmarks.probe_cost [--rounds 5] [--seconds 3] [--builds plain cf-protection]

One memcached worker under memcaslap (libmemcached-tools). Every round runs every condition once, in turn, so that a
drift of the machine touches all alike; printed are medians over the rounds, and the ratio to the prototype. CPU is read
from /proc/PID/stat and /proc/stat, requests from memcached's own `stats`. Needs root.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleettrace.binary.analysis import analyse
from fleettrace.lab.build import memcached_binary
from fleettrace.node.discovery import look_around
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.ladder import choose
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import TraceSettings
from fleettrace.transport.interface import Target
from fleettrace.transport.local import LocalTransport

__all__ = ["main"]

PORT = 21987
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """Clock, memcached's and the machine's CPU seconds, and requests so far."""

    cpu: float
    machine: float
    requests: int

    @classmethod
    def take(cls, pid: int) -> Reading:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        busy = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        # user, nice, system, irq, softirq: all but idle (3), iowait (4) and steal (7).
        machine = sum(int(busy[index]) for index in (0, 1, 2, 5, 6))
        return cls((int(fields[11]) + int(fields[12])) / TICKS, machine / TICKS, requests())


def requests() -> int:
    """Requests that memcached has served: cmd_get and cmd_set."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        connection.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            text += connection.recv(65536)
    words = [line.split() for line in text.splitlines()]
    return sum(int(word[2]) for word in words if len(word) == 3 and word[1] in (b"cmd_get", b"cmd_set"))


@contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command, for as long as the block lasts, in a process group of its own."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        for sign in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        process.wait()


def bpftrace(program: str) -> list[str]:
    return ["bpftrace", "-e", program]


def conditions(pid: int, binary: Path) -> dict[str, tuple[list[str], bytes | None]]:
    """The command of each condition, and what it gets on standard input (kept open)."""
    exe = f"/proc/{pid}/exe"
    plan = choose(analyse(binary.read_bytes()))
    task = LocalTransport().connect(Target("here"))
    found = look_around(task, ("bpftrace",), "host")
    instance = next(each for each in found.instances if each.pid == pid)
    assert found.facts.bpftrace is not None
    version = (found.facts.bpftrace.major, found.facts.bpftrace.minor, found.facts.bpftrace.patch)
    trace = HostTrace(("bpftrace",), [(instance, plan)], key_layout(version), TraceSettings(120))
    return {
        "untraced": ([], None),
        "count only": (bpftrace(f"uprobe:{exe}:do_item_get {{ @ = count(); }}"), None),
        "prototype": (
            bpftrace(f"uprobe:{exe}:process_command_ascii /pid == {pid}/ {{ @command[str(arg1)]++ }}"),
            None,
        ),
        "fleettrace": (["sh", "-c", trace.script().decode()], b""),
        "tcpdump": (["tcpdump", "-i", "lo", "-w", "/dev/null", "-B", "16384", f"tcp port {PORT}"], None),
    }


def measure(
    pid: int, command: list[str], stdin: bytes | None, seconds: float, settle: float
) -> tuple[float, float, float]:
    """(memcached's, the machine's CPU microseconds a request; requests a second) under `command`."""

    def window() -> tuple[float, float, float]:
        before, began = Reading.take(pid), time.monotonic()
        time.sleep(seconds)
        after, ended = Reading.take(pid), time.monotonic()
        served = max(1, after.requests - before.requests)
        return (
            (after.cpu - before.cpu) / served * 1e6,
            (after.machine - before.machine) / served * 1e6,
            served / (ended - began),
        )

    if not command:
        return window()
    environment = {**os.environ, "BPFTRACE_MAP_KEYS_MAX": "65536"}
    with running(
        command, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL, env=environment
    ) as tracer:
        time.sleep(settle)
        if tracer.poll() is not None:
            raise SystemExit(f"ended at once with status {tracer.returncode}: {' '.join(command)[:200]}")
        return window()


def run(build: str, rounds: int, seconds: float, settle: float, only: list[str] | None) -> None:
    """Measure one build and print its table."""
    binary = memcached_binary(build)
    served = [str(binary), "-u", "nobody", "-l", "127.0.0.1", "-p", str(PORT), "-t", "1", "-m", "512"]
    load = ["memcaslap", "-s", f"127.0.0.1:{PORT}", "-T", "1", "-c", "16", "-t", "36000s"]
    with running(served) as memcached:
        time.sleep(0.5)
        with running(load):
            time.sleep(2)
            results: dict[str, list[tuple[float, float, float]]] = {}
            ways = conditions(memcached.pid, binary)
            for number in range(rounds):
                for name, (command, stdin) in ways.items():
                    if only is None or name in only:
                        results.setdefault(name, []).append(measure(memcached.pid, command, stdin, seconds, settle))
                print(f"# {build}: round {number + 1} of {rounds} done", file=sys.stderr)
    table(build, results)


def table(build: str, results: dict[str, list[tuple[float, float, float]]]) -> None:
    """Medians, what each adds to the untraced figures, and the ratio of what it adds to what the prototype adds."""
    middle = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()}
    base = middle["untraced"]
    print(f"\n{build}: medians of {len(results['untraced'])}, CPU in us a request")
    print(f"{'':12} {'memcached':>10} {'added':>8} {'machine':>9} {'added':>8} {'requests/s':>11} {'of prototype':>13}")
    for name, (cpu, machine, rate) in middle.items():
        added = cpu - base[0]
        beside = middle["prototype"][0] - base[0] if "prototype" in middle else float("nan")
        ratio = f"{added / beside:>12.2f}x" if name not in ("untraced",) and beside else f"{'':>13}"
        print(
            f"{name:12} {cpu:>10.2f} {added:>+8.2f} {machine:>9.2f} {machine - base[1]:>+8.2f} {rate:>11,.0f} {ratio}"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--settle", type=float, default=3, help="seconds for a tracer to attach")
    parser.add_argument("--builds", nargs="+", default=["plain", "cf-protection"])
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    for build in options.builds:
        run(build, options.rounds, options.seconds, options.settle, options.only)


if __name__ == "__main__":
    main()
