"""A bpftrace that starts slowly: its window is complete, and its start-up has its own bound and error."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.discovery import discover
from fleettrace.node.planning import plan_instances
from fleettrace.node.request_rates import endpoint_lines
from fleettrace.node.trace_end import TraceEnd
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.transport.interface import Connection

pytestmark = pytest.mark.lab

COMPILER = (
    "definitions.h:36:60: warning: declaration of 'struct perf_event' will not be visible outside of this function"
)


def slow(directory: Path, before: str, real: str | None = shutil.which("bpftrace")) -> list[str]:
    """A stand-in that prints a compiler's warning and does `before`, and then runs bpftrace."""
    program = directory / "bpftrace"
    program.write_text(f'#!/bin/sh\necho "{COMPILER}" >&2\n{before}\nexec {real} "$@"\n')
    program.chmod(0o755)
    return [str(program)]


def traced(here: Connection, pid: int, bpftrace: list[str], startup_s: float, duration_s: float = 1.0) -> TraceEnd:
    found = discover(here, ["bpftrace"], "host")
    [instance] = [instance for instance in found.instances if instance.pid == pid]
    [planned] = plan_instances(here, BinaryCatalog(None), found.facts, [instance], ProbeOptions())
    assert planned.plan is not None
    assert found.facts.bpftrace is not None
    version = found.facts.bpftrace
    trace = HostTrace(
        bpftrace,
        [(instance, planned.plan)],
        key_layout((version.major, version.minor, version.patch)),
        TraceSettings(duration_s),
        endpoints=endpoint_lines(found.facts, [instance], {}),
        startup_s=startup_s,
    )
    return trace.read(here.start(trace.script(), trace.limits))


def test_a_slow_start_takes_nothing_from_the_window(here: Connection, pid: int, tmp_path: Path) -> None:
    end = traced(here, pid, slow(tmp_path, "sleep 4"), startup_s=20, duration_s=2)
    assert (end.complete, end.broken, end.error_text) == (True, False, "")
    assert end.window_s == pytest.approx(2, abs=0.3)


def test_slow_start_reports_what_bpftrace_did(here: Connection, pid: int, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(HostError) as caught:
        traced(here, pid, slow(tmp_path, "sleep 100"), startup_s=2, duration_s=60)
    assert (caught.value.state.value, caught.value.code) == ("timeout", "slow-start")
    assert "compiling" in caught.value.message
    assert "visible" not in caught.value.message
    assert time.monotonic() - began < 60


def test_start_ended_by_the_node_is_slow(here: Connection, pid: int, tmp_path: Path) -> None:
    # As timeout(1) ends it where no controller waits.
    with pytest.raises(HostError) as caught:
        traced(here, pid, slow(tmp_path, "exit 124"), startup_s=20)
    assert caught.value.code == "slow-start"


def test_a_failure_is_not_explained_by_a_warning(here: Connection, pid: int, tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        traced(here, pid, slow(tmp_path, "echo HINT: do it better >&2; exit 1"), startup_s=20)
    assert caught.value.code == "attach-failed"
    assert "visible" not in caught.value.message
    assert "HINT: do it better" in caught.value.message


def test_a_failure_without_an_error_names_a_command(here: Connection, pid: int, tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        traced(here, pid, slow(tmp_path, "echo stdin:1:1-10: WARNING: old >&2; exit 1"), startup_s=20)
    assert caught.value.code == "attach-failed"
    assert "exit status 1; run `" in caught.value.message
    assert "WARNING" not in caught.value.message
