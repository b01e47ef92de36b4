"""Kinds and misses are exact with one probe at the exit of do_item_get, and with a return probe at its entry."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, ProbedFunction, analyse
from fleettrace.binary.elf import Machine
from fleettrace.lab.memcached import DEBIAN
from fleettrace.node.discovery import discover
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import choose
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import memcached

PUSH_R15 = 2
"""Bytes of the first instruction of Debian's do_item_get; `push r14` follows."""


@pytest.fixture(scope="module")
def behind() -> BinaryAnalysis:
    """Debian's memcached, as if it had no exit, and only the second instruction of do_item_get were cheap.

    So it is on aarch64.
    """
    analysis = analyse(Path(DEBIAN).read_bytes())
    points = tuple(_later(point) if point.name == "do_item_get" else point for point in analysis.functions)
    return replace(analysis, functions=points, exit=None)


def _later(point: ProbedFunction) -> ProbedFunction:
    instruction = replace(
        point.entry,
        address=point.entry.address + PUSH_R15,
        file_offset=point.entry.file_offset + PUSH_R15,
        offset=PUSH_R15,
        return_offset=8,
    )
    return replace(point, cheapest=instruction)


def test_misses_need_one_probe_at_the_exit() -> None:
    analysis = analyse(Path(DEBIAN).read_bytes())
    plan = choose(analysis, ProbeOptions(misses=True))
    assert analysis.exit is not None
    assert plan.instructions == analysis.exit.instructions
    assert (plan.misses, len(plan.results), plan.counts_misses) == (None, 1, True)
    assert plan.verdict.cost == choose(analysis, ProbeOptions()).verdict.cost
    assert "uretprobe" not in program([ProbeTarget(plan, (1,))], key_layout((0, 17, 0)), TraceSettings(2))


@pytest.mark.parametrize(
    ("options", "overlay"),
    [(ProbeOptions(misses=True), False), (ProbeOptions(misses=True, exits=False), True)],
    ids=["without overlay", "refused"],
)
def test_return_probe_stays_where_exits_are_impossible(options: ProbeOptions, overlay: bool) -> None:
    plan = choose(analyse(Path(DEBIAN).read_bytes()), options, overlay_works=overlay)
    assert (plan.misses is not None, plan.results, plan.verdict.offset) == (True, (), 0)


def test_misses_put_both_probes_on_one_instruction(behind: BinaryAnalysis) -> None:
    assert choose(behind, ProbeOptions()).verdict.offset == PUSH_R15
    assert choose(behind, ProbeOptions(misses=True)).verdict.offset == 0
    linked = replace(behind, machine=Machine.AARCH64, functions=tuple(_linked(point) for point in behind.functions))
    assert choose(linked, ProbeOptions()).verdict.offset == PUSH_R15
    plan = choose(linked, ProbeOptions(misses=True))
    assert (plan.verdict.offset, plan.misses is not None, plan.tagging.ops is not None) == (0, True, True)


def _linked(point: ProbedFunction) -> ProbedFunction:
    """With the return address in the link register."""
    entry, cheapest = (replace(instruction, return_offset=None) for instruction in (point.entry, point.cheapest))
    return replace(point, entry=entry, cheapest=cheapest)


@pytest.mark.lab
@pytest.mark.parametrize("returns", [False, True], ids=["exit", "return probe"])
def test_kinds_and_misses_are_exact(behind: BinaryAnalysis, returns: bool, tmp_path: Path) -> None:
    # A return probe hides the caller from every exit probe on the same inode, also from those of other tests.
    own = Path(shutil.copy2(DEBIAN, tmp_path / "memcached"))
    tmp_path.chmod(0o755)
    analysis = behind if returns else analyse(Path(DEBIAN).read_bytes())
    connection = LocalTransport().connect(Target("here"))
    with memcached(own) as (pid, connect):
        client = connect()
        found = discover(connection, ["bpftrace"], "host")
        [instance] = [instance for instance in found.instances if instance.pid == pid]
        plan = choose(analysis, ProbeOptions(misses=True))
        assert (plan.misses is not None) is returns
        version = found.facts.bpftrace
        assert version is not None
        started = threading.Event()

        def ask() -> None:
            assert started.wait(60)
            for index in range(23):
                client.ascii(f"set stored 0 0 1\r\n{index % 10}")
                for key in ("stored", "absent"):
                    client.ascii(f"get {key}", b"END")
            client.ascii("delete absent")

        thread = threading.Thread(target=ask)
        thread.start()
        trace = HostTrace(
            ["bpftrace"],
            [(instance, plan)],
            key_layout((version.major, version.minor, version.patch)),
            TraceSettings(2),
            on_start=started.set,
        )
        end = trace.read(connection.start(trace.script(), trace.limits))
        thread.join()
    connection.close()
    keys = {key.data: (count.ops, count.misses) for key, count in end.summaries[pid].keys.items()}
    assert keys == {b"stored": ({"set": 23, "get": 23}, 0), b"absent": ({"get": 23, "delete": 1}, 24)}
