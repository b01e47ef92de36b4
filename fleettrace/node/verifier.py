"""What bpftrace prints when the kernel refuses its program: whether that is so, and the verifier's own reason. Pure."""

from __future__ import annotations

import re

__all__ = ["logged", "refused", "verifier_reason"]

_REFUSED = re.compile(
    rb"Error loading (?:BPF )?program|failed to load(?: BPF)?(?: program|:)|[Cc]ould not load program"
    rb"|BPF program is too large|Unknown function: uptr|Looks like the BPF stack limit",
)
"""0.11 to 0.20: `Error loading program: uprobe:... (try -v)`; 0.21 on: `Error loading BPF program for ...`; libbpf:
`prog '...': failed to load: -13` (attached_probe.cpp and bpfbytecode.cpp of bpftrace). `Unknown function: uptr` comes
before the kernel is asked, from a release that lacks it."""
_STATE = re.compile(
    rb"\d+: |; |R\d+(?:_\w+)?=|from \d+ to \d+|last_idx|regs=|parent |propagating|func#|\s*$|mark_precise|BPF program|"
    rb"-- (?:BEGIN|END)|Live regs|arg#|frame\d|\(\w\w\) |verification time|stack depth"
)
"""Lines of a verifier's log that show its state, and no reason (kernel/bpf/verifier.c)."""
_DONE = re.compile(rb"processed \d+ insns")
_SHOWN = 200


def refused(words: bytes) -> bool:
    """Return whether bpftrace's output says that its program was not loaded."""
    return _REFUSED.search(words) is not None


def logged(words: bytes) -> bool:
    """Return whether bpftrace's output has the end of the verifier's log, where the reason is."""
    return any(_DONE.match(line.strip()) for line in words.splitlines())


def verifier_reason(log: bytes) -> str | None:
    """Return the reason at the end of the verifier's log, or of bpftrace's own refusal; None where there is neither.

    At most 200 characters, on one line, undecodable bytes replaced: a node chose them, so whoever shows them escapes.
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
