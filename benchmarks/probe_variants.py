"""Measure the cost of each part of the probe's program, in nanoseconds a run, by the kernel's own statistics.

    python -m benchmarks.probe_variants [--rounds 3] [--seconds 2] [--build plain]

The numbers are the time in the BPF program without the trap. The benchmark sets the sysctl kernel.bpf_stats_enabled,
reads /proc/PID/fdinfo of bpftrace, and restores the sysctl. memcaslap loads one memcached worker; the variants are
interleaved, and the output has medians of the rounds, and of the differences to the complete program in the same round.
Needs root.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.probe_cost import PORT, running
from fleettrace.binary.analysis import analyse
from fleettrace.lab.build import memcached_binary
from fleettrace.probes.asked import comparison
from fleettrace.probes.layout import key_layout, word_expression, word_statements
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import choose
from fleettrace.probes.tags import Tagging

__all__ = ["main"]

STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
NEVER = "interval:s:3600 {{ {} = count(); {} = count(); }}"
"""Assigns a type to a map that a variant does not fill: printing the map requires one."""


def variants(pid: int, binary: Path) -> dict[str, tuple[str, int]]:
    """Return the program and the string limit of each variant."""
    exe = f"/proc/{pid}/exe"
    plan = choose(analyse(binary.read_bytes()))
    layout = key_layout((0, 17, 0))
    whole = program([ProbeTarget(plan, (pid,))], layout, TraceSettings(3600))
    totals = re.compile(r"^\s*@n[ab]_NONCE\[pid\] = count\(\);\n", re.MULTILINE)
    words, key = word_statements(layout), word_expression(layout)
    assert totals.search(whole) and words in whole and key in whole and plan.tagging.statements in whole
    strings = whole.replace(words, "").replace(key, "str($key, $length)")
    return {
        "count only": (f"uprobe:{exe}:do_item_get {{ @ = count(); }}", 64),
        "prototype": (f"uprobe:{exe}:process_command_ascii /pid == {pid}/ {{ @command[str(arg1)]++ }}", 64),
        "fleettrace": (whole, 72),
        "without ops": (whole.replace(plan.tagging.statements, Tagging().statements), 72),
        "without exact totals": (totals.sub("", whole) + NEVER.format("@na_NONCE[0]", "@nb_NONCE[0]"), 72),
        "short keys as strings": (strings, 72),
        **_by_client(pid, binary),
    }


def _by_client(pid: int, binary: Path) -> dict[str, tuple[str, int]]:
    """Return the programs that count by client: all keys, also as if every key were hot, and asked keys."""
    keys = tuple(b"user:%08d" % number for number in range(16))
    found = {}
    for name, asked in {"who, no request": keys[:1], "who, no request of 16 keys": keys}.items():
        plan = choose(analyse(binary.read_bytes()), ProbeOptions(asked=asked))
        found[name] = (program([ProbeTarget(plan, (pid,))], key_layout((0, 17, 0)), TraceSettings(3600)), 72)
    plan = choose(analyse(binary.read_bytes()), ProbeOptions(clients=True))
    clients = program([ProbeTarget(plan, (pid,))], key_layout((0, 17, 0)), TraceSettings(3600))
    hot = "$hot = $seen * 1024 >= $all;"
    assert hot in clients
    found = {
        "with --clients": (clients, 72),
        "--clients, all keys hot": (clients.replace(hot, "$hot = $all > 0;"), 72),
        **found,
    }
    text, strings = found["who, no request"]
    one = comparison(keys[:1])
    assert one in text
    return {**found, "who, every request": (text.replace(one, f"{one} $asked = (uint64)1;"), strings)}


def run_time(program_text: str, strings: int, seconds: float, settle: float) -> float | None:
    """Return the nanoseconds a run of the program's busiest probe; None below 1,000 runs."""
    environment = {**os.environ, "BPFTRACE_STRLEN": str(strings), "BPFTRACE_MAP_KEYS_MAX": "65536"}
    with running(["bpftrace", "-e", program_text], env=environment, stdin=subprocess.DEVNULL) as tracer:
        time.sleep(settle)
        if tracer.poll() is not None:
            raise SystemExit(f"bpftrace ended at once with status {tracer.returncode}:\n{program_text}")
        before = counters(tracer.pid)
        time.sleep(seconds)
        after = counters(tracer.pid)
    runs = {program_id: (after[program_id][0] - ns, after[program_id][1] - n) for program_id, (ns, n) in before.items()}
    ns, number = max(runs.values(), key=lambda pair: pair[1], default=(0, 0))
    return ns / number if number > 1000 else None


def counters(pid: int) -> dict[int, tuple[int, int]]:
    """Return (nanoseconds, runs) of each BPF program that the process holds, by program id."""
    found = {}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        text = info.read_text()
        if "prog_id:" in text:
            fields = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
            found[int(fields["prog_id"])] = (int(fields["run_time_ns"]), int(fields["run_cnt"]))
    return found


def main() -> None:
    """Measure every variant and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--settle", type=float, default=3, help="seconds for bpftrace to attach")
    parser.add_argument("--build", default="plain")
    options = parser.parse_args()
    binary = memcached_binary(options.build)
    enabled = STATS.read_text()
    STATS.write_text("1")
    try:
        with running([str(binary), "-u", "nobody", "-l", "127.0.0.1", "-p", str(PORT), "-t", "1"]) as memcached:
            time.sleep(0.5)
            with running(["memcaslap", "-s", f"127.0.0.1:{PORT}", "-T", "1", "-c", "16", "-w", "1k", "-t", "36000s"]):
                time.sleep(2)
                times: dict[str, list[float]] = {}
                for _ in range(options.rounds):
                    for name, (text, strings) in variants(memcached.pid, binary).items():
                        measured = run_time(text, strings, options.seconds, options.settle)
                        if measured is not None:
                            times.setdefault(name, []).append(measured)
    finally:
        STATS.write_text(enabled)
    print(f"{options.build}: ns a run of the probe's program, medians of {options.rounds}")
    for name, figures in times.items():
        differences = [own - complete for own, complete in zip(figures, times["fleettrace"], strict=False)]
        print(f"{name:28} {statistics.median(figures):8.0f} {statistics.median(differences):+8.0f}")


if __name__ == "__main__":
    main()
