"""Uprobes that a kernel optimises, and which instructions it does that on.

From Linux 6.18 on an x86-64 kernel replaces a probed 5-byte nop by a call, which pushes a return address into the red
zone below the stack pointer, where the traced function may keep values: with one kept there, 599,999 of 600,000 were
destroyed. It is discussed as "uprobes/x86: fix red zone" on linux-trace-kernel (May 2026); no release was seen to have
a fix, so none is assumed to. arch/x86/kernel/uprobes.c: can_optimize, insn_is_nop.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from fleettrace.binary.analysis import BinaryAnalysis
from fleettrace.binary.cheapest import Instruction
from fleettrace.binary.elf import Machine
from fleettrace.probes.model import ProbeKind, ProbeOptions, ProbePlan
from fleettrace.probes.selection import choose

__all__ = ["choose_for_kernel", "optimises"]

_FIRST = (6, 18)
_WHY = "the probe would sit on a 5-byte nop, under which Linux 6.18 and later overwrite the traced process's stack"


def optimises(kernel: str, arch: str) -> bool:
    """Return whether this kernel (`uname -r`, `uname -m`) puts a call in place of a probed nop, or may do so."""
    found = re.match(r"(\d+)\.(\d+)", kernel)
    return arch == Machine.X86_64.value and (found is None or (int(found[1]), int(found[2])) >= _FIRST)


def choose_for_kernel(
    analysis: BinaryAnalysis,
    wish: ProbeOptions,
    *,
    overlay_works: bool,
    kernel: str,
    arch: str,
    refused: Collection[ProbeKind] = (),
) -> ProbePlan:
    """Return `choose`'s plan, with no probe on an instruction that this kernel optimises. Raises `UnsupportedError`."""
    while True:
        plan = choose(analysis, wish, overlay_works=overlay_works, refused=refused)
        spots = {spot for spot in plan.spots if spot.is_nop5} if optimises(kernel, arch) else set()
        if not spots:
            return plan
        analysis = _without(analysis, spots)


def _without(analysis: BinaryAnalysis, spots: set[Instruction]) -> BinaryAnalysis:
    """Return the analysis without the places that are probed at one of `spots`."""
    kept = tuple(point for point in analysis.points if not {point.entry, point.cheapest} & spots)
    gone = {point.function for point in analysis.points} - {point.function for point in kept}
    # One place of a static probe alone would count less than the truth.
    names = {probe.name for probe in analysis.usdt if probe.spot in spots}
    usdt = tuple(probe for probe in analysis.usdt if probe.name not in names)
    return replace(analysis, points=kept, usdt=usdt, missing=analysis.missing | dict.fromkeys(gone, _WHY))
