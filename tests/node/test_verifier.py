"""A refusal in bpftrace's output; its reason is the verifier's last line before the number of instructions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.verifier import refused, verifier_reason

LINUX_6_1 = b"""\
ERROR: Unknown error -1: couldn't set RLIMIT_MEMLOCK for bpftrace. If your program is not loading, you can try "ulimit"
Error log: \n\
0: R1=ctx(off=0,imm=0) R10=fp0
; \n\
221: (07) r3 += 71                    ; R3_w=scalar()
224: (bf) r2 = r8                     ; R2_w=scalar(id=5) R8_w=scalar(id=5)
225: (85) call bpf_probe_read_user_str#114
R2 min value is negative, either use unsigned or 'var &= const'
processed 107 insns (limit 1000000) max_states_per_insn 0 total_states 6 peak_states 6 mark_read 4

ERROR: Error loading program: uprobe:/proc/105/exe:fleettrace_point
"""
"""bpftrace 0.17.0 on 6.1.0-50-amd64, with lines left out."""
LINUX_5_10 = LINUX_6_1.replace(
    b"R2 min value is negative, either use unsigned or 'var &= const'",
    b"""\
from 87 to 91: R0=map_value(id=0,off=0,ks=4,vs=8,imm=0) R1=fp0 fp-8=mmmmmmmm
invalid indirect access to stack R2 off=-72 size=65536
last_idx 91 first_idx 87
regs=4 stack=0 before 90: (b7) r3 = 0""",
)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (LINUX_6_1, "R2 min value is negative, either use unsigned or 'var &= const'"),
        (LINUX_5_10, "invalid indirect access to stack R2 off=-72 size=65536"),
        (
            b"ERROR: Error loading program: uprobe:/proc/1/exe:f (try -v)\n",
            "Error loading program: uprobe:/proc/1/exe:f",
        ),
        (b"stdin:1:9-13: ERROR: Unknown function: uptr\n", "Unknown function: uptr"),
        (
            b"error: <unknown>:0:0: in function f: Looks like the BPF stack limit of 512 bytes is exceeded.\n",
            "error: <unknown>:0:0: in function f: Looks like the BPF stack limit of 512 bytes is exceeded.",
        ),
    ],
)
def test_the_reason_is_the_verifiers_own(words: bytes, reason: str) -> None:
    assert refused(words)
    assert verifier_reason(words) == reason


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"Attaching 4 probes...\n",
        b"WARNING: Unknown error -1: couldn't set RLIMIT_MEMLOCK for bpftrace. If your program\n",
        b"stdin:1:1-23: ERROR: uprobe target file '/mnt/exe-12' does not exist or is not executable\n",
    ],
)
def test_other_output_is_not_a_refusal(words: bytes) -> None:
    assert not refused(words)


@given(st.binary(max_size=2000))
def test_any_output_gives_short_reason_or_none(words: bytes) -> None:
    reason = verifier_reason(words)
    assert reason is None or (len(reason) <= 200 and "\n" not in reason)
