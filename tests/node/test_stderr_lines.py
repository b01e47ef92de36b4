"""A failure's reason is the error, with its HINT, and never a warning of bpftrace or its compiler."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.stderr_lines import complaints

# Printed by bpftrace 0.17.0 and 0.27.1 on kernel 6.18, and NO_HEADERS as bpftrace's issue 2532 has it; the compiler's
# warnings are in clang's form, with and without the excerpt that bpftrace's releases print.
MEMLOCK = (
    "ERROR: Unknown error -1: couldn't set RLIMIT_MEMLOCK for bpftrace. If your program is not loading, you can try "
    '"ulimit -l 8192" to fix the problem\n'
)
STRIPPED = (
    "WARNING: Could not determine instruction boundary for uprobe:/usr/bin/memcached:92128 (binary appears stripped). "
    "Misaligned probes can lead to tracee crashes!\n"
)
NO_DEV_FD = """\
1 error generated.
stdin:1:1-60: ERROR: failed to build
interval:ms:100 { @n = count(); printf("done\\n"); exit(); }
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
HINT: error: unable to open output file '/dev/fd/3': 'No such file or directory'
"""
NO_PERF = """\
perf_event_open: Permission denied
   (check your kernel for PERF_COUNT_SW_BPF_OUTPUT support, 4.4 or newer)
ERROR: Failed to open perf buffer
"""
VISIBILITY = (
    "definitions.h:36:60: warning: declaration of 'struct perf_event' will not be visible outside of this function "
    "[-Wvisibility]\n"
)
VISIBILITY_EXCERPT = f"""\
{VISIBILITY.strip()}
   36 | static int f(struct perf_event *event);
      |                     ^
/bpftrace/include/asm_goto.h:3:9: note: previous definition is here
#define asm_volatile_goto(x...)
        ^
2 warnings generated.
"""
NO_HEADERS = "/bpftrace/include/clang_workarounds.h:14:10: fatal error: 'linux/types.h' file not found\n"
RENAMED = """\
stdin:1:1-9: WARNING: profile: is deprecated and has no effect
profile:hz:99 { @ = count(); }
~~~~~~~~
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MEMLOCK + STRIPPED + VISIBILITY, []),
        (VISIBILITY_EXCERPT, []),
        (RENAMED, []),
        (MEMLOCK + NO_HEADERS, [NO_HEADERS.strip()]),
        (
            MEMLOCK + NO_DEV_FD,
            [
                "stdin:1:1-60: ERROR: failed to build",
                "HINT: error: unable to open output file '/dev/fd/3': 'No such file or directory'",
            ],
        ),
        (
            STRIPPED + NO_PERF,
            [
                "perf_event_open: Permission denied",
                "(check your kernel for PERF_COUNT_SW_BPF_OUTPUT support, 4.4 or newer)",
                "ERROR: Failed to open perf buffer",
            ],
        ),
        (VISIBILITY_EXCERPT + "Segmentation fault\n", ["Segmentation fault"]),
        ("WARNING: the map is full,\n  so keys are lost\nKilled\n", ["Killed"]),
        ("a\nb\nc\nd\nHINT: e\n", ["a", "b", "c", "HINT: e"]),
    ],
)
def test_the_reason_is_chosen(text: str, expected: list[str]) -> None:
    assert complaints(text.encode().splitlines()) == expected


@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([b"WARNING: x", b"ERROR: y", b"  ^", b"HINT: z"]))))
def test_any_lines_give_few_messages_and_no_warning(lines: list[bytes]) -> None:
    chosen = complaints(lines)
    assert len(chosen) <= 6
    assert not any(line.startswith("WARNING: ") for line in chosen)
