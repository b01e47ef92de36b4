"""Avoid uprobes on instructions where the kernel's optimization of uprobes corrupts the traced process.

From Linux 6.18 on an x86-64 kernel replaces a probed 5-byte nop by a call. The call pushes a return address into the
red zone below the stack pointer, where the traced function may hold values: with one value there, 599,999 of 600,000
were destroyed. The discussion is "uprobes/x86: fix red zone" on linux-trace-kernel (May 2026); no release is known to
have a fix, so all later ones are taken to have the fault. arch/x86/kernel/uprobes.c: can_optimize, insn_is_nop.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from fleettrace.binary.analysis import BinaryAnalysis
from fleettrace.binary.cheapest import Instruction
from fleettrace.binary.elf import Machine
from fleettrace.probes.model import ProbeKind, ProbeOptions, ProbePlan, UnsupportedError
from fleettrace.probes.selection import choose
from fleettrace.probes.shadow_stacks import NO_MISSES, breaks_return_probes, without_calls

__all__ = ["choose_for_kernel", "optimises"]

_FIRST = (6, 18)
_WHY = "the probe would sit on a 5-byte nop, under which Linux 6.18 and later overwrite the traced process's stack"


def optimises(kernel: str, arch: str) -> bool:
    """Return whether this kernel (`uname -r`, `uname -m`) replaces a probed nop by a call, or may do so."""
    found = re.match(r"(\d+)\.(\d+)", kernel)
    return arch == Machine.X86_64.value and (found is None or (int(found[1]), int(found[2])) >= _FIRST)


def choose_for_kernel(
    analysis: BinaryAnalysis,
    options: ProbeOptions,
    *,
    overlay_works: bool,
    kernel: str,
    arch: str,
    refused: Collection[ProbeKind] = (),
    shadow_stack: bool = False,
) -> ProbePlan:
    """Return the plan of `choose`, with no probe on an instruction that this kernel optimizes.

    Nor with one that ends a process with a shadow stack. Raises `UnsupportedError`.
    """
    if shadow_stack:
        return _beside_shadow_stack(
            analysis, options, overlay_works=overlay_works, kernel=kernel, arch=arch, refused=refused
        )
    while True:
        plan = choose(analysis, options, overlay_works=overlay_works, refused=refused)
        instructions = (
            {instruction for instruction in plan.instructions if instruction.is_nop5}
            if optimises(kernel, arch)
            else set()
        )
        if not instructions:
            return plan
        analysis = _without(analysis, instructions)


def _beside_shadow_stack(
    analysis: BinaryAnalysis,
    options: ProbeOptions,
    *,
    overlay_works: bool,
    kernel: str,
    arch: str,
    refused: Collection[ProbeKind],
) -> ProbePlan:
    broken = breaks_return_probes(kernel)
    if (
        broken
        and options.script is not None
        and any(text.startswith("return:") for text in options.script.attach_points)
    ):
        raise UnsupportedError(f"{options.script.name}: {NO_MISSES}")

    def chosen(options: ProbeOptions) -> ProbePlan:
        return choose_for_kernel(
            without_calls(analysis), options, overlay_works=overlay_works, kernel=kernel, arch=arch, refused=refused
        )

    plan = chosen(options)
    if not broken or plan.misses is None:
        return plan
    plan = chosen(replace(options, misses=False))
    return replace(plan, verdict=replace(plan.verdict, why=f"{plan.verdict.why}; {NO_MISSES}"))


def _without(analysis: BinaryAnalysis, instructions: set[Instruction]) -> BinaryAnalysis:
    """Return the analysis without the functions that would be probed at one of `instructions`."""
    remaining = tuple(each for each in analysis.functions if not {each.entry, each.cheapest} & instructions)
    removed = {each.name for each in analysis.functions} - {each.name for each in remaining}
    # A static probe with one of its copies missing would count too little.
    names = {probe.name for probe in analysis.usdt if probe.instruction in instructions}
    usdt = tuple(probe for probe in analysis.usdt if probe.name not in names)
    return replace(analysis, functions=remaining, usdt=usdt, missing=analysis.missing | dict.fromkeys(removed, _WHY))
