"""Programs for a nested PID namespace name processes by start time and namespace, not by number."""

from __future__ import annotations

import re

import pytest

from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeKind, ProbeOptions, TraceSettings
from fleettrace.probes.pid_namespace import Process
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import preview

PROCESSES = (Process(1, 5000, 4026532178), Process(33, 5001, 4026532178))


@pytest.mark.parametrize("probe_kind", [ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND, ProbeKind.SYSCALL])
def test_probes_in_namespace_do_not_use_pid(probe_kind: ProbeKind) -> None:
    plan = preview(ProbeOptions(probe_kind, misses=probe_kind is ProbeKind.ITEM, sizes=probe_kind is ProbeKind.ITEM))
    plain = program([ProbeTarget(plan, (1, 33))], key_layout((0, 17, 0)), TraceSettings(10.0))
    text = program([ProbeTarget(plan, (1, 33), PROCESSES)], key_layout((0, 17, 0)), TraceSettings(10.0))
    assert re.search(r"(?<![$\w])pid\b", plain)
    assert not re.search(r"(?<![$\w])pid\b", text)
    probes = len(re.findall(r"^(?:uprobe|uretprobe|tracepoint):", text, re.MULTILINE))
    assert text.count("if ($started == 5000 && $space == 4026532178) { $pid = (uint64)1; }") == probes
    assert text.count("if ($started == 5001 && $space == 4026532178) { $pid = (uint64)33; }") == probes
