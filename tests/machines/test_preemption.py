"""Minutes of traffic on many threads, CPUs and connections, on kernels that preempt: are the counts exact?

Kernels from 6.13 on with PREEMPT, PREEMPT_LAZY or `preempt=full` run uprobe programs preemptibly on per-CPU private
stacks (open-telemetry/opentelemetry-ebpf-instrumentation#3056: panics and mixed-up buffers). A buffer that another
thread overwrites appears as a key that was never sent, or as a wrong count.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.load import BackgroundLoad, Flow, Order
from fleettrace.lab.profile import HOSTILE_ASCII, Profile
from fleettrace.lab.truth import OP_OF_VERB, TracedInstance
from fleettrace.sweep.events import Phase
from tests.e2e.command import Command
from tests.e2e.fleet import key_of
from tests.machines.cells import PREEMPTED
from tests.machines.node import HOST, Node, node
from tests.machines.results import keep_node

pytestmark = [pytest.mark.machines, pytest.mark.timeout(3600)]

TRAFFIC_S, SLACK_S = 180, 120
CONNECTIONS = 4
"""Sending processes for each instance, each with its own connections."""
KEYS = 60
"""Few enough that a slice, which prints 2,000 entries, holds each key with each kind of each instance."""
RATE = 300
"""Requests per second of each process."""
VERBS = {"get": 50, "gets": 5, "gat": 5, "set": 12, "delete": 3, "incr": 4, "mg": 8, "ms": 4, "bget": 6, "bset": 3}
BORDERS = tuple(b"%d:" % size + b"x" * (size - len(b"%d:" % size)) for size in (71, 72, 142, 143, 213, 214, 250))


@pytest.mark.parametrize("name", PREEMPTED)
def test_counts_are_exact_or_the_report_warns(name: str, tmp_path: Path) -> None:
    """Mixed-up counts are a known fault of preemptible kernels; a report without the warning would be our fault."""
    spec, began = PREEMPTED[name], time.monotonic()
    with node(spec) as running:
        facts: dict[str, Any] = {"kernel": running.release, "bpftrace": running.bpftrace, "result": "failed"}
        try:
            mode = re.search(r"preempt=(\w+)", name)
            assert mode is not None
            assert f"({mode[1]})" in running.guest.wait_for("VM-PREEMPT (.*)", 1)[1]
            report, truth = _trace(running, tmp_path)
            [host] = report["hosts"]
            counted = Counter({(key_of(row), op): n for row in report["keys"] for op, n in row["ops"].items() if n})
            extra, absent = (counted - truth).total(), (truth - counted).total()
            facts["requests"] = truth.total()
            warned = "preemptible-kernel" in {one["code"] for one in report["warnings"]}
            state = host["error"]["code"] if host["error"] else host["state"]
            if (state, extra, absent) == ("ok", 0, 0):
                facts["result"] = "exact"
            else:
                without = "" if warned else "; no warning"
                facts["result"] = f"{state}; {extra} too much, {absent} too little{without}"
            assert not re.search("(?i)oops|BUG:|panic|Call Trace|soft lockup", running.guest.console())
            assert facts["result"] == "exact" or warned, facts["result"]
        finally:
            keep_node(name, **facts, seconds=round(time.monotonic() - began))


def _trace(running: Node, directory: Path) -> tuple[Any, Counter[tuple[bytes, str]]]:
    """Sweep under traffic. Return the report, and the truth by key and kind."""
    profile = Profile(
        verbs=VERBS, families=("item:{n}", "user:{n}:profile"), keys=KEYS, multiget=20,
        hostile=(*HOSTILE_ASCII, *BORDERS), hostile_share=0.3,
    )  # fmt: skip
    window = TRAFFIC_S + SLACK_S
    words = ["--duration", f"{window}s", "--top", "100000", "--output", "json", "-v", "--no-store"]
    words += ["--misses", "--sizes", "--allow-preemptible"]
    words += ["--max-cost", "1000%", "--deadline", f"{window + 600}s", "--connect-timeout", "120s"]
    with Command(running.command("run", *words)) as command, ExitStack() as stack:
        command.wait_for_phase(Phase.TRACE, HOST, seconds=300)
        running.start(f"for _ in 1 2 3 4 5 6; do timeout {TRAFFIC_S} sh -c 'while :; do :; done' & done")
        ports = [running.guest.ports[port] for port in running.spec.ports]
        flows = [Flow(TracedInstance("node", port), "127.0.0.1", profile, RATE) for port in ports]
        loads = []
        for number in range(CONNECTIONS):
            load = BackgroundLoad(Order(flows, TRAFFIC_S, seed=number), directory / f"truth{number}")
            stack.callback(load.kill)
            loads.append(load)
        counts: Counter[tuple[bytes, str]] = Counter()
        for load in loads:
            for per_instance in load.wait(TRAFFIC_S + 120).counts.values():
                for (key, verb), count in per_instance.items():
                    counts[key, OP_OF_VERB[verb]] += count
            assert load.errors == []
        assert not command.has_finished(HOST), "the traffic outlasted the window"
        return command.finish(seconds=600).report, counts
