"""Recognize in bpftrace's output that the kernel refused its program, and the verifier's reason. Pure."""

from __future__ import annotations

import re

__all__ = ["logged", "refused", "verifier_reason"]

_REFUSED = re.compile(
    rb"Error loading (?:BPF )?program|failed to load(?: BPF)?(?: program|:)|[Cc]ould not load program"
    rb"|BPF program is too large|Unknown function: uptr|Looks like the BPF stack limit",
)
"""0.11 to 0.20: `Error loading program: uprobe:... (try -v)`; 0.21 on: `Error loading BPF program for ...`; libbpf:
`prog '...': failed to load: -13` (attached_probe.cpp and bpfbytecode.cpp of bpftrace). A release without
uptr() prints `Unknown function: uptr` before it calls the kernel."""
_STATE = re.compile(
    rb"\d+: |; |R\d+(?:_\w+)?=|from \d+ to \d+|last_idx|regs=|parent |propagating|func#|\s*$|mark_precise|BPF program|"
    rb"-- (?:BEGIN|END)|Live regs|arg#|frame\d|\(\w\w\) |verification time|stack depth"
)
"""Lines of a verifier's log that show its state and not its reason (kernel/bpf/verifier.c)."""
_DONE = re.compile(rb"processed \d+ insns")
_SHOWN = 200


def refused(output: bytes) -> bool:
    """Return whether bpftrace's output reports that the kernel did not load its program."""
    return _REFUSED.search(output) is not None


def logged(output: bytes) -> bool:
    """Return whether bpftrace's output contains the end of the verifier's log, which has the reason."""
    return any(_DONE.match(line.strip()) for line in output.splitlines())


def verifier_reason(log: bytes) -> str | None:
    """Return the reason at the end of the verifier's log, or else of bpftrace's own refusal; None without either.

    It has at most 200 characters, on one line, undecodable bytes replaced. A node chose them, so output must escape
    them.
    """
    lines = [line.strip() for line in log.splitlines()]
    ends = [number for number, line in enumerate(lines) if _DONE.match(line)]
    if ends:
        for line in reversed(lines[: ends[-1]]):
            if not _STATE.match(line) and not _REFUSED.search(line):
                return _text(line)
    found = next((line for line in lines if _REFUSED.search(line)), None)
    return None if found is None else _text(re.sub(rb"^(?:\S+: )?ERROR: | \(try -v\)$", b"", found))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")[:_SHOWN]
