"""For a refused program of the user's own, the error has the verifier's reason once, and a cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from tests.e2e.command import run
from tests.e2e.local import served

pytestmark = pytest.mark.lab

SCRIPT = """\
// COUNTS: @mine
uprobe:${exe}:${point:do_item_get} /${pids}/ { $key = arg0; $length = arg1; @mine[${key}] = count(); }
"""
# A stand-in for another kernel's verifier: bpftrace 0.17.0's output with `-v` on 6.1, with `states` lines of state.
REFUSING = """\
#!/bin/sh
case "$*" in *--version* | *-V* | *--info*) exec bpftrace "$@" ;; esac
text=$(cat)
case $text in *takes_input*) echo fleettrace_takes_input; exit 1 ;; esac
{{
    echo 'Attaching 3 probes...'
    echo 'HINT: use another helper'
    for number in $(seq {states}); do echo "$number: (bf) r6 = r1   ; R6_w=ctx(off=0,imm=0)"; done
    echo "R2 min value is negative, either use unsigned or 'var &= const'"
    echo 'processed 102 insns (limit 1000000) max_states_per_insn 0 total_states 3 peak_states 3 mark_read 2'
    echo 'ERROR: Error loading program: uprobe:/proc/130/exe:92128'
}} >&2
exit 1
"""


@pytest.mark.parametrize("states", [3, 1000])
def test_verifiers_reason_is_given_once(tmp_path: Path, states: int) -> None:
    bpftrace, script = tmp_path / "bpftrace", tmp_path / "own.bt"
    bpftrace.write_text(REFUSING.format(states=states))
    bpftrace.chmod(0o755)
    script.write_text(SCRIPT)
    with served(tmp_path, memcached_binary(), bpftrace=str(bpftrace)) as memcached:
        options = ["run", "-i", str(memcached.inventory), "--duration", "1s", "--output", "json"]
        error = run(*options, "--script", str(script)).host("here")["error"]
    assert error["code"] == "program-refused"
    assert error["message"].count("R2 min value is negative") == 1
    assert "--script" in error["message"]
    assert "--probe" not in error["message"]
