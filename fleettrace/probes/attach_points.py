"""Choose what bpftrace is given for each probe on a binary: a symbol of the binary, of an overlay, or a file offset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis, Found, ProbedFunction
from fleettrace.binary.cheapest import Instruction, InstructionCost
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.overlay import overlay
from fleettrace.probes.model import Overlay, UnsupportedError

__all__ = ["MAIN", "AttachPoint", "AttachPoints", "find_attach_points", "instruction_to_probe"]

MAIN = "fleettrace_point"
"""The symbol that an overlay gives to the instruction under the main probe."""
_COSTS = {InstructionCost.EMULATED: "is emulated by the kernel", InstructionCost.STEPPED: "is single-stepped"}
_NO_OVERLAY = "a symbol overlay does not work there"
_BY_NAME = (Found.SYMTAB, Found.DYNSYM)
"""The symbol tables that bpftrace reads itself."""


@dataclass(frozen=True, slots=True)
class AttachPoint:
    """What bpftrace is given for one probe: a symbol's name or a file offset."""

    name: str
    instruction: Instruction
    why: str
    """Why this instruction was chosen, as a phrase for the report."""


@dataclass(frozen=True, slots=True)
class AttachPoints:
    """The attach points of all probes on one binary, by the caller's names, and the overlay they need."""

    by_name: Mapping[str, AttachPoint]
    overlay: Overlay | None

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The probed instructions."""
        return tuple(attach_point.instruction for attach_point in self.by_name.values())


def instruction_to_probe(function: ProbedFunction, *, returns: bool = False) -> Instruction:
    """Return the cheapest instruction of a function that a probe, or with `returns` a return probe, can sit on.

    The kernel replaces the return address for a return probe (uprobes' arch_uretprobe_hijack_return_addr). It must
    still be where a call leaves it: on top of the stack, or in aarch64's link register at the entry. A probe behind
    that instruction reads the kernel's address instead; one on the same instruction reads the caller's, because
    handlers run first (kernel/events/uprobes.c, handler_chain).
    """
    if returns and function.cheapest.return_offset != 0:
        return function.entry
    return function.cheapest


def find_attach_points(
    analysis: BinaryAnalysis, probed: Mapping[str, tuple[ProbedFunction, Instruction]], overlay_works: bool
) -> AttachPoints:
    """Return an attach point for each of `probed`, under the same name. Raises `UnsupportedError`.

    Without an overlay bpftrace finds a function by its own symbol, or any instruction by its offset in the file. An
    overlay hides the binary's own symbols: when one probe needs it, all probes use it.
    """
    if all(_by_name(function) and chosen.address == function.entry.address for function, chosen in probed.values()):
        return AttachPoints({name: _at_entry(function) for name, (function, _) in probed.items()}, None)
    if overlay_works:
        try:
            elf = overlay(analysis.build_id, analysis.machine, {name: chosen for name, (_, chosen) in probed.items()})
        except BinaryError as error:
            raise UnsupportedError(str(error)) from error
        return AttachPoints(
            {name: AttachPoint(name, chosen, _why(function, chosen)) for name, (function, chosen) in probed.items()},
            Overlay(elf, analysis.headers),
        )
    return AttachPoints({name: _without_overlay(analysis, *each) for name, each in probed.items()}, None)


def _without_overlay(analysis: BinaryAnalysis, function: ProbedFunction, chosen: Instruction) -> AttachPoint:
    """Return an attach point that every bpftrace resolves by itself. Raises `UnsupportedError`.

    It is a symbol of the binary, or a bare number (`--unsafe`). Releases up to 0.22 at least attach nothing at a bare
    number inside a function that has a symbol.
    """
    if not _by_name(function):
        ambiguity = _ambiguity(analysis, chosen)
        if ambiguity is not None:
            raise UnsupportedError(f"{_NO_OVERLAY}, and a probe by file offset may miss: {ambiguity}")
        why = f"{_why(function, chosen)}; by its file offset, because {_NO_OVERLAY}"
        return AttachPoint(f"{chosen.file_offset:#x}", chosen, why)
    if chosen.address == function.entry.address:
        return _at_entry(function)
    why = f"at its entry, by its symbol, although {_how(function.entry)}: {_NO_OVERLAY}"
    return AttachPoint(str(function.symbol), function.entry, why)


def _at_entry(function: ProbedFunction) -> AttachPoint:
    entry = function.entry
    return AttachPoint(str(function.symbol), entry, f"at its entry, by its symbol: {_how(entry)}")


def _ambiguity(analysis: BinaryAnalysis, chosen: Instruction) -> str | None:
    """Return why bpftrace may read the bare number of an instruction's file offset in another way, or None.

    bpftrace reads a bare number as a virtual address where a symbol covers it, including a symbol of a debug file on
    the node, and as a file offset elsewhere.
    """
    if chosen.file_offset < 0:
        return "the instruction's place in the file is not known"
    if chosen.file_offset in analysis.covered:
        return "as an address the same number lies in a function with a symbol"
    if chosen.address != chosen.file_offset and (analysis.build_id or analysis.debug_link):
        return "as an address the same number is other code, which a debug file may give a symbol"
    return None


def _by_name(function: ProbedFunction) -> bool:
    return function.symbol is not None and function.found in _BY_NAME


def _how(chosen: Instruction) -> str:
    return f"`{chosen.text}` {_COSTS[chosen.cost]}"


def _why(function: ProbedFunction, chosen: Instruction) -> str:
    found = "located in the code" if function.found is Found.LOCATED else f"by its {function.found}"
    why = f"{found}, at `{chosen.text}`, which {_COSTS[chosen.cost]}"
    if chosen.address != function.entry.address:
        why += f"; its first instruction, `{function.entry.text}`, {_COSTS[function.entry.cost]}"
    return why
