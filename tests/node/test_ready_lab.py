"""Counting begins when the last probe is in place, however long bpftrace takes to attach them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.node.output import OutputParser, Started
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import TraceSettings
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import preview
from tests.binary.traffic import memcached

pytestmark = pytest.mark.lab


def test_counting_begins_after_the_last_probe(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    slow = ["strace", "-f", "-ttt", "-o", str(log), "-e", "trace=ioctl", "-e", "inject=ioctl:delay_enter=400000"]
    version = subprocess.run(["bpftrace", "--version"], capture_output=True, text=True, check=True).stdout
    numbers = re.findall(r"\d+", version)
    layout = key_layout((int(numbers[0]), int(numbers[1]), 0))
    limits = {"BPFTRACE_STRLEN": str(layout.strlen), "BPFTRACE_MAX_STRLEN": str(layout.strlen)}
    with memcached(memcached_binary()) as (pid, _):
        text = program([ProbeTarget(preview(), (pid,))], layout, TraceSettings(1.0), "N")
        done = subprocess.run(
            [*slow, "bpftrace", "-e", text], capture_output=True, timeout=60, env={**os.environ, **limits}, check=True
        )
    parser = OutputParser(layout.piece, layout.pieces, "N")
    [started] = [event for event in parser.feed(done.stdout) if isinstance(event, Started)]
    enabled = re.findall(r"^\d+ +(\d+\.\d+) ioctl\(\d+, PERF_EVENT_IOC_ENABLE", log.read_text(), re.MULTILINE)
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert len(enabled) >= 4
    assert started.ns / 1e9 + booted > float(enabled[-1])
