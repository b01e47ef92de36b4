"""No uprobe definition of a bpftrace stays in tracefs: it would pin the binary's file system."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.errors import HostError
from fleettrace.lab.memcached import DEBIAN
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.discovery import discover
from fleettrace.node.loading import load_program
from fleettrace.node.planning import plan_instances
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, ProbePlan, TraceSettings
from fleettrace.probes.program import ProbeTarget
from fleettrace.probes.selection import choose
from fleettrace.transport.interface import Connection
from tests.binary.traffic import memcached

pytestmark = pytest.mark.lab

LAYOUT = key_layout((0, 17, 0))
EVENTS = Path("/sys/kernel/tracing/uprobe_events")
REAL = shutil.which("bpftrace")
# Without the uprobe PMU, as before kernel 4.17, every attach writes a definition.
NO_PMU = """\
[ "$private" = yes ] || private=yes exec unshare -m sh "$0" "$@"
mount --bind /dev/null /sys/bus/event_source/devices/uprobe/type || exit 1"""
KILL = """\
{
    until grep -q "_bcc_$$ " /sys/kernel/tracing/uprobe_events; do sleep 0.1; kill -0 $$ || exit; done
    echo defined >>%s/seen
    kill -KILL $$
} >/dev/null 2>&1 &"""


@pytest.fixture
def pid() -> Iterator[int]:
    with memcached(Path(DEBIAN)) as (pid, _):
        yield pid


def recorded(directory: Path, before: str = "", after: str = "") -> list[str]:
    """Return the command of a bpftrace that appends its pid to the file `pids`."""
    program = directory / "bpftrace"
    program.write_text(f'#!/bin/sh\n{before}\necho $$ >>{directory}/pids\n{after}\nexec {REAL} "$@"\n')
    program.chmod(0o755)
    return [str(program)]


def definitions(directory: Path) -> list[str]:
    """Return the definitions of the bpftrace processes that `recorded` has seen."""
    endings = tuple(f"_bcc_{number}" for number in (directory / "pids").read_text().split())
    return [line for line in EVENTS.read_text().splitlines() if line.split()[0].endswith(endings)]


def write(line: str) -> None:
    # Not open(..., "a"), which seeks: the kernel refuses that here.
    subprocess.run(["sh", "-c", 'echo "$1" >>"$2"', "sh", line, EVENTS], check=True)


def unattachable(plan: ProbePlan) -> ProbePlan:
    return replace(plan, attach_point="0xfffffff", overlay=None)


def trace(here: Connection, pid: int, bpftrace: list[str], *, refused: bool) -> None:
    found = discover(here, ["bpftrace"], "host")
    [instance] = [each for each in found.instances if each.pid == pid]
    [planned] = plan_instances(here, BinaryCatalog(None), found.facts, [instance], ProbeOptions())
    assert planned.plan is not None
    plan = unattachable(planned.plan) if refused else planned.plan
    one = HostTrace(bpftrace, [(instance, plan)], LAYOUT, TraceSettings(1.0))
    with suppress(HostError):
        one.read(here.start(one.script(), one.limits))


def test_a_refused_attach_leaves_no_definition(here: Connection, pid: int, tmp_path: Path) -> None:
    trace(here, pid, recorded(tmp_path), refused=True)
    assert definitions(tmp_path) == []


def test_a_killed_bpftrace_leaves_no_definition(here: Connection, pid: int, tmp_path: Path) -> None:
    trace(here, pid, recorded(tmp_path, NO_PMU, KILL % tmp_path), refused=False)
    assert (tmp_path / "seen").read_text() == "defined\n"
    assert definitions(tmp_path) == []


def test_loading_leaves_no_uprobe_definition(here: Connection, pid: int, tmp_path: Path) -> None:
    plan = unattachable(choose(analyse(Path(DEBIAN).read_bytes())))
    load_program(here, recorded(tmp_path), [ProbeTarget(plan, (pid,))], LAYOUT, TraceSettings(1.0))
    assert definitions(tmp_path) == []


def test_definitions_of_others_stay(here: Connection, pid: int, tmp_path: Path) -> None:
    name = f"uprobes/p_others_1_bcc_{2**22 + pid}"
    write(f"p:{name} {DEBIAN}:0x1000")
    try:
        trace(here, pid, recorded(tmp_path), refused=True)
        assert name in EVENTS.read_text()
    finally:
        write(f"-:{name}")
