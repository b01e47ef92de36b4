"""Probes that end a process with a user shadow stack (SHSTK, x86 kernels 6.6 and later), and their replacements.

A return probe changes the return address on the stack. Up to Linux 6.10 the shadow stack kept the old one, and the
process died of a control protection fault: fixed in 6.11 (commit 1713b63a07a2, "x86/shstk: Make return uprobe work with
shadow stack") and in the stable releases 6.6.44 and 6.10.3. An emulated or single-stepped call pushes its return
address on the stack alone (arch/x86/kernel/uprobes.c: branch_emulate_op, default_post_xol_op); which release fixes
that is not known, so none is assumed to. No machine with shadow stacks was at hand: this follows the kernel's source.
"""

from __future__ import annotations

import re
from dataclasses import replace

from fleettrace.binary.analysis import BinaryAnalysis, ProbedFunction
from fleettrace.binary.cheapest import Instruction

__all__ = ["NO_MISSES", "breaks_return_probes", "without_calls"]

NO_MISSES = (
    "no misses: the process has a user shadow stack, and on this kernel (before 6.6.44, 6.10.3 and 6.11) a return "
    "probe would end it"
)
_ON_CALL = "the probe would sit on a call, which ends a process with a user shadow stack"
_FIXED = (6, 11)
_FIXED_STABLE = {(6, 6): 44, (6, 10): 3}
_KERNEL = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


def breaks_return_probes(kernel: str) -> bool:
    """Return whether a return probe ends a process with a shadow stack on this kernel (`uname -r`), or may do so."""
    found = _KERNEL.match(kernel)
    if found is None:
        return True
    release = int(found[1]), int(found[2])
    return release < _FIXED and int(found[3] or 0) < _FIXED_STABLE.get(release, 1 << 16)


def without_calls(analysis: BinaryAnalysis) -> BinaryAnalysis:
    """Return the analysis without probes on a call: at the function's entry instead, or without the function."""
    moved = tuple(_off_call(each) for each in analysis.functions)
    functions = tuple(each for each in moved if not _is_call(each.cheapest))
    removed = dict.fromkeys((each.name for each in moved if _is_call(each.cheapest)), _ON_CALL)
    return replace(analysis, functions=functions, missing=analysis.missing | removed)


def _off_call(function: ProbedFunction) -> ProbedFunction:
    return replace(function, cheapest=function.entry) if _is_call(function.cheapest) else function


def _is_call(instruction: Instruction) -> bool:
    return instruction.text.split(" ", 1)[0] == "call"
