"""A command for bpftrace that is deaf to signals, or slow: both are bounded, and neither is taken for the other."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.errors import HostError
from fleettrace.lab.memcached import DEBIAN
from fleettrace.node.loading import Load, LoadVerdict, load_program
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import TraceSettings
from fleettrace.probes.program import ProbeTarget
from fleettrace.probes.selection import choose
from fleettrace.transport.interface import Connection
from tests.node.test_slow_start import slow, traced

pytestmark = pytest.mark.lab

DEAF = "trap '' INT TERM HUP\nsleep 300"


def loaded(here: Connection, pid: int, bpftrace: list[str]) -> Load:
    plan = choose(analyse(Path(DEBIAN).read_bytes()))
    return load_program(here, bpftrace, [ProbeTarget(plan, (pid,))], key_layout((0, 17, 0)), TraceSettings(1.0))


def test_loading_by_a_deaf_command_ends_soon(here: Connection, pid: int, tmp_path: Path) -> None:
    began = time.monotonic()
    load = loaded(here, pid, slow(tmp_path, DEAF))
    assert (load.verdict, load.code) == (LoadVerdict.FAILED, "bpftrace-unstoppable")
    assert f"{tmp_path}/bpftrace" in load.reason
    assert time.monotonic() - began < 40


def test_a_trace_by_a_deaf_command_ends_soon(here: Connection, pid: int, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(HostError) as caught:
        traced(here, pid, slow(tmp_path, DEAF), startup_s=60)
    assert caught.value.code == "bpftrace-unstoppable"
    assert f"{tmp_path}/bpftrace" in caught.value.message
    assert "Killed" not in caught.value.message
    assert time.monotonic() - began < 40


def test_slow_command_gets_program_by_input(here: Connection, pid: int, tmp_path: Path) -> None:
    # It takes longer than the question whether it hands input on.
    assert loaded(here, pid, slow(tmp_path, "sleep 12")) == Load(LoadVerdict.LOADED)
