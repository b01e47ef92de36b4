"""Measure the time of all programs that run for one request, and how many run, with `--misses` and without.

    python -m benchmarks.misses_programs [--rounds 5] [--seconds 1.5]

By the kernel's own statistics, without the traps (see benchmarks/probe_variants.py), on Debian's stripped memcached
under memcaslap. Needs root and two CPUs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.probe_cost import PORT, pinned, running
from benchmarks.probe_variants import STATS, counters
from fleettrace.binary.analysis import analyse
from fleettrace.lab.memcached import DEBIAN
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import choose

__all__ = ["main"]

OPTIONS = {
    "no misses": ProbeOptions(),
    "return probe": ProbeOptions(misses=True, exits=False),
    "exit": ProbeOptions(misses=True),
}


def text(options: ProbeOptions, pid: int) -> str:
    """Return the program, with file offsets for the names of an overlay."""
    plan = choose(analyse(Path(DEBIAN).read_bytes()), options)
    found = program([ProbeTarget(plan, (pid,))], key_layout((0, 17, 0)), TraceSettings(3600))
    for name in ("fleettrace_point", "fleettrace_return"):
        found = found.replace(f"exe:{name}\n", f"exe:{plan.instructions[0].file_offset:#x}\n")
    return found


def measure(program_text: str, seconds: float) -> tuple[float, float]:
    """Return the nanoseconds of all programs for one request, and the number of them that run."""
    environment = {**os.environ, "BPFTRACE_STRLEN": "72", "BPFTRACE_MAP_KEYS_MAX": "65536"}
    with running(["bpftrace", "--unsafe", "-e", program_text], env=environment, stdin=subprocess.DEVNULL) as tracer:
        time.sleep(4)
        before = counters(tracer.pid)
        time.sleep(seconds)
        after = counters(tracer.pid)
    runs = [(after[number][0] - ns, after[number][1] - count) for number, (ns, count) in before.items()]
    requests = max(count for _, count in runs)
    # The clock's programs run some forty times a second.
    runs = [(ns, count) for ns, count in runs if count > requests / 100]
    return sum(ns for ns, _ in runs) / requests, sum(count for _, count in runs) / requests


def main() -> None:
    """Measure every program in interleaved rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    served = [*pinned(0), str(DEBIAN), "-u", "nobody", "-l", "127.0.0.1", "-p", str(PORT), "-t", "1", "-m", "512"]
    load = [*pinned(1), "memcaslap", "-s", f"127.0.0.1:{PORT}", "-T", "1", "-c", "16", "-t", "36000s"]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in OPTIONS}
    enabled = STATS.read_text()
    STATS.write_text("1")
    try:
        with running(served) as memcached:
            time.sleep(0.5)
            with running(load):
                time.sleep(2)
                for _ in range(options.rounds):
                    for name, each in OPTIONS.items():
                        found[name].append(measure(text(each, memcached.pid), options.seconds))
    finally:
        STATS.write_text(enabled)
    base = statistics.median(ns for ns, _ in found["return probe"])
    for name, figures in found.items():
        ns, runs = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{name:14} {ns:6.0f} ns a request, {runs:.2f} programs, {ns / base:.2f} of the return probe's")


if __name__ == "__main__":
    main()
