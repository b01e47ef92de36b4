"""Programs for a nested PID namespace name processes by their start and their namespace, and by no number."""

from __future__ import annotations

import re

import pytest

from fleettrace.probes.ladder import preview
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import Rung, TraceSettings, Wish
from fleettrace.probes.namespaced import Process
from fleettrace.probes.program import Site, program

PROCESSES = (Process(1, 5000, 4026532178), Process(33, 5001, 4026532178))


@pytest.mark.parametrize("rung", [Rung.ITEM, Rung.USDT, Rung.COMMAND, Rung.SYSCALL])
def test_no_probe_uses_bpftraces_own_number(rung: Rung) -> None:
    plan = preview(Wish(rung, misses=rung is Rung.ITEM, sizes=rung is Rung.ITEM))
    plain = program([Site(plan, (1, 33))], key_layout((0, 17, 0)), TraceSettings(10.0))
    text = program([Site(plan, (1, 33), PROCESSES)], key_layout((0, 17, 0)), TraceSettings(10.0))
    assert re.search(r"(?<![$\w])pid\b", plain)
    assert not re.search(r"(?<![$\w])pid\b", text)
    probes = len(re.findall(r"^(?:uprobe|uretprobe|tracepoint):", text, re.MULTILINE))
    assert text.count("if ($started == 5000 && $space == 4026532178) { $pid = (uint64)1; }") == probes
    assert text.count("if ($started == 5001 && $space == 4026532178) { $pid = (uint64)33; }") == probes
