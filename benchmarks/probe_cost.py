"""Measure what a probe costs memcached: CPU per request, untraced and with each tracer, in interleaved rounds.

    python -m benchmarks.probe_cost [--rounds 8] [--seconds 3] [--builds plain cf-protection]

One memcached worker and memcaslap (libmemcached-tools) run on separate CPUs. Every round measures every tracer once, in
another order, with an untraced window before and after each. The cost of a tracer is the difference to the mean of
these two windows, so that a (virtual) machine that becomes slower or faster affects both. The output has medians over
the rounds, and the ratio to the prototype. CPU is read from /proc/PID/stat and /proc/stat, requests from memcached's
own `stats`. Needs root and two CPUs.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fleettrace.binary.analysis import analyse
from fleettrace.lab.build import memcached_binary
from fleettrace.node.discovery import discover
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbePlan, TraceSettings
from fleettrace.probes.selection import choose
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport

__all__ = ["main"]

PORT = 21987
TICKS = os.sysconf("SC_CLK_TCK")
Conditions = Callable[[int, Path], dict[str, tuple[list[str], bytes | None]]]
"""Returns, for a pid and its binary, the command of each tracer and its standard input, which stays open."""


@dataclass(frozen=True)
class Sample:
    """memcached's and the machine's CPU seconds, and the number of requests."""

    cpu: float
    machine: float
    requests: int

    @classmethod
    def take(cls, pid: int) -> Sample:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        busy = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        # user, nice, system, irq, softirq: all but idle (3), iowait (4) and steal (7).
        machine = sum(int(busy[index]) for index in (0, 1, 2, 5, 6))
        return cls((int(fields[11]) + int(fields[12])) / TICKS, machine / TICKS, requests())


def requests() -> int:
    """Return the number of requests that memcached has served: cmd_get and cmd_set."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        connection.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            text += connection.recv(65536)
    words = [line.split() for line in text.splitlines()]
    return sum(int(word[2]) for word in words if len(word) == 3 and word[1] in (b"cmd_get", b"cmd_set"))


class Figures(NamedTuple):
    """The result of one window: memcached's and the machine's CPU microseconds per request; requests per second."""

    memcached: float
    machine: float
    rate: float

    def beside(self, *others: Figures) -> Figures:
        """Return the difference to the mean of others."""
        return Figures(*(mine - statistics.fmean(column) for mine, *column in zip(self, *others, strict=True)))

    @classmethod
    def median(cls, rows: Sequence[Figures]) -> Figures:
        return cls(*(statistics.median(column) for column in zip(*rows, strict=True)))


@contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in its own process group while the block runs."""
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


def fleettrace(pid: int, plan: ProbePlan) -> tuple[list[str], bytes | None]:
    """Return the command that traces a process with this plan, and its standard input."""
    task = LocalTransport().connect(Target("here"))
    found = discover(task, ("bpftrace",), "host")
    instance = next(each for each in found.instances if each.pid == pid)
    assert found.facts.bpftrace is not None
    version = (found.facts.bpftrace.major, found.facts.bpftrace.minor, found.facts.bpftrace.patch)
    trace = HostTrace(("bpftrace",), [(instance, plan)], key_layout(version), TraceSettings(120))
    return ["sh", "-c", trace.script().decode()], b""


def conditions(pid: int, binary: Path) -> dict[str, tuple[list[str], bytes | None]]:
    """Return the command of each tracer, and its standard input, which stays open."""
    exe = f"/proc/{pid}/exe"
    return {
        "count only": (bpftrace(f"uprobe:{exe}:do_item_get {{ @ = count(); }}"), None),
        "prototype": (
            bpftrace(f"uprobe:{exe}:process_command_ascii /pid == {pid}/ {{ @command[str(arg1)]++ }}"),
            None,
        ),
        "fleettrace": fleettrace(pid, choose(analyse(binary.read_bytes()))),
        "tcpdump": (["tcpdump", "-i", "lo", "-w", "/dev/null", "-B", "16384", f"tcp port {PORT}"], None),
    }


def measure(pid: int, seconds: float) -> Figures:
    """Measure one window with the tracer that runs now, if any."""
    before, began = Sample.take(pid), time.monotonic()
    time.sleep(seconds)
    after, ended = Sample.take(pid), time.monotonic()
    served = max(1, after.requests - before.requests)
    return Figures(
        (after.cpu - before.cpu) / served * 1e6,
        (after.machine - before.machine) / served * 1e6,
        served / (ended - began),
    )


def traced(pid: int, command: list[str], stdin: bytes | None, seconds: float, settle: float) -> Figures:
    """Measure one window with the tracer `command`, which has `settle` seconds to attach."""
    environment = {**os.environ, "BPFTRACE_MAP_KEYS_MAX": "65536"}
    with running(
        command, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL, env=environment
    ) as tracer:
        time.sleep(settle)
        if tracer.poll() is not None:
            raise SystemExit(f"ended at once with status {tracer.returncode}: {' '.join(command)[:200]}")
        return measure(pid, seconds)


def run(
    build: str,
    binary: Path,
    rounds: int,
    seconds: float,
    settle: float,
    *,
    conditions: Conditions = conditions,
    only: Sequence[str] | None = None,
    base: str = "prototype",
) -> None:
    """Measure one build and print its table, with the ratio of each cost to that of `base`."""
    served = [*pinned(0), str(binary), "-u", "nobody", "-l", "127.0.0.1", "-p", str(PORT), "-t", "1", "-m", "512"]
    load = [*pinned(1), "memcaslap", "-s", f"127.0.0.1:{PORT}", "-T", "1", "-c", "16", "-t", "36000s"]
    with running(served) as memcached:
        time.sleep(0.5)
        with running(load):
            time.sleep(2)
            ways = conditions(memcached.pid, binary)
            names = [name for name in ways if only is None or name in only]
            untraced: list[Figures] = [measure(memcached.pid, seconds)]
            results: dict[str, list[tuple[Figures, Figures]]] = {name: [] for name in names}
            for number in range(rounds):
                first = number % len(names)
                for name in [*names[first:], *names[:first]]:
                    under = traced(memcached.pid, *ways[name], seconds, settle)
                    untraced.append(measure(memcached.pid, seconds))
                    results[name].append((under, under.beside(untraced[-2], untraced[-1])))
                print(f"# {build}: round {number + 1} of {rounds} done", file=sys.stderr)
    table(build, untraced, results, base)


def pinned(cpu: int) -> list[str]:
    """Return the beginning of a command line that runs the rest on the n-th CPU that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(allowed[cpu % len(allowed)])]


def table(build: str, untraced: list[Figures], results: dict[str, list[tuple[Figures, Figures]]], other: str) -> None:
    """Print the medians of each tracer, of its cost, and the ratio of its cost to that of `other`."""
    beside = {name: Figures.median([added for _, added in rows]) for name, rows in results.items()}
    middle = {name: Figures.median([under for under, _ in rows]) for name, rows in results.items()}
    base = Figures.median(untraced)
    print(f"\n{build}: medians of {len(next(iter(results.values())))}, CPU in us a request")
    head = f"{'':16} {'memcached':>10} {'added':>8} {'machine':>9} {'added':>8} {'requests/s':>11}"
    print(f"{head} {f'of {other}':>16}")
    print(f"{'untraced':16} {base.memcached:>10.2f} {'':>8} {base.machine:>9.2f} {'':>8} {base.rate:>11,.0f}")
    for name, figures in middle.items():
        added = beside[name]
        ratio = f"{added.memcached / beside[other].memcached:>15.2f}x" if other in beside else ""
        print(
            f"{name:16} {figures.memcached:>10.2f} {added.memcached:>+8.2f} {figures.machine:>9.2f}"
            f" {added.machine:>+8.2f} {figures.rate:>11,.0f} {ratio}"
        )


def main() -> None:
    """Measure each build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--settle", type=float, default=3, help="seconds for a tracer to attach")
    parser.add_argument("--builds", nargs="+", default=["plain", "cf-protection"])
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    for build in options.builds:
        run(build, memcached_binary(build), options.rounds, options.seconds, options.settle, only=options.only)


if __name__ == "__main__":
    main()
