"""A trace of many binaries gives bpftrace all their symbol files and its whole program, whatever execve(2) limits."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.node.loading import load_script
from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.scripts import script_text
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget
from fleettrace.probes.selection import choose, syscall_plan
from tests.binary.builds import stripped
from tests.node.ran import ran

pytestmark = pytest.mark.lab

MANY = 120
"""A symbol file has about 2.8 kB as printf(1) takes it, and one string of an environment at most 128 KiB."""
SHELLS = (["dash"], ["bash"], ["busybox", "ash"])


@pytest.fixture
def bpftrace(tmp_path: Path) -> Path:
    """A command that prints how many symbol files it sees and how long its program is."""
    script = tmp_path / "bpftrace"
    script.write_text(
        """#!/bin/sh
text=$(cat)
printf '%s\\n' "$text" | head -n 1
[ -z "$BCC_SYMFS" ] || echo "symbol files: $(find "$BCC_SYMFS" -name 'exe*' -size -3 -o -path '*/fd/*' -type f | wc -l)"
echo "program: ${#text}"
"""
    )
    script.chmod(0o755)
    return script


@pytest.fixture
def processes() -> Iterator[list[int]]:
    with ExitStack() as running:
        started = [subprocess.Popen(["sleep", "100"]) for _ in range(MANY)]
        for process in started:
            running.callback(process.wait)
            running.callback(process.kill)
        yield [process.pid for process in started]


def output_of(shell: Sequence[str], script: bytes, directory: Path) -> bytes:
    """Run a script that is longer than one argument may be."""
    file = directory / "script"
    file.write_bytes(script)
    return ran(shell, f". {file}".encode()).stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[-1])
def test_a_trace_has_all_symbol_files(shell: Sequence[str], bpftrace: Path, tmp_path: Path) -> None:
    plan = choose(analyse(stripped("plain").read_bytes()), ProbeOptions())
    assert plan.overlay is not None
    octal = "".join(f"\\{byte:03o}" for byte in plan.overlay.elf)
    lines = "".join(f"/proc/{number}/fd/5 {octal}\n" for number in range(1, MANY + 1))
    assert len(lines) > 1 << 17
    # A plan that needs no binary of the node, so that nothing is bound.
    traced = (
        Instance(os.getpid(), 5, NodeBinary("1:1", 1, None), b"/bin/memcached", None, (), None),
        syscall_plan(ProbeOptions()),
    )
    script = HostTrace([str(bpftrace)], [traced], key_layout((0, 17, 0)), TraceSettings(1.0)).script().decode()
    trace = script_text("trace.sh")
    assert script.endswith(trace)
    given = script.removesuffix(trace) + f"overlays={shlex.quote(lines)}\n" + trace
    assert f"symbol files: {MANY}\n".encode() in output_of(shell, given.encode(), tmp_path)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[-1])
def test_rehearsal_has_all_symbol_files_and_program(
    shell: Sequence[str], bpftrace: Path, processes: list[int], tmp_path: Path
) -> None:
    plan = choose(analyse(stripped("plain").read_bytes()), ProbeOptions())
    targets = [ProbeTarget(plan, (pid,)) for pid in processes]
    script = load_script([str(bpftrace)], targets, key_layout((0, 17, 0)), TraceSettings(1.0))
    output = output_of(shell, script, tmp_path)
    assert f"symbol files: {MANY}\n".encode() in output
    [size] = [int(line.split()[1]) for line in output.splitlines() if line.startswith(b"program: ")]
    assert size > 1 << 17
    assert output.endswith(b"status 0\n")
