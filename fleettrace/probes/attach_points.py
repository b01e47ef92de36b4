"""Where in a binary probes go, and how bpftrace is led there: by its own symbols, an overlay's, or addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis, Found, ProbedFunction
from fleettrace.binary.cheapest import Instruction, InstructionCost
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.overlay import overlay
from fleettrace.probes.model import Overlay

__all__ = ["MAIN", "AttachPoint", "AttachPoints", "find_attach_points", "instruction_to_probe"]

MAIN = "fleettrace_point"
"""The symbol that an overlay gives to the instruction under the main probe."""
_WORDS = {InstructionCost.EMULATED: "is emulated by the kernel", InstructionCost.STEPPED: "is single-stepped"}
_NO_OVERLAY = "a symbol overlay does not work there"
_BY_NAME = (Found.SYMTAB, Found.DYNSYM)
"""Where bpftrace finds a symbol by itself."""


@dataclass(frozen=True, slots=True)
class AttachPoint:
    """One probe's place: by the name that bpftrace knows it by, and what was chosen there, in words."""

    name: str
    spot: Instruction
    why: str


@dataclass(frozen=True, slots=True)
class AttachPoints:
    """The places of all the probes on one binary, by what the caller called them, and the overlay they need."""

    places: Mapping[str, AttachPoint]
    overlay: Overlay | None

    @property
    def spots(self) -> tuple[Instruction, ...]:
        """The instructions of all of them."""
        return tuple(instruction_to_probe.spot for instruction_to_probe in self.places.values())


def instruction_to_probe(point: ProbedFunction, *, returns: bool = False) -> Instruction:
    """The cheapest instruction of a function to put a probe on. One that `returns` needs the return address where a
    call leaves it, on top of the stack or in aarch64's link register at the entry, for the kernel replaces it there
    (uprobes' arch_uretprobe_hijack_return_addr). A probe behind that instruction reads the kernel's address instead;
    one on the same instruction reads the caller's, as handlers run first (kernel/events/uprobes.c, handler_chain)."""
    if returns and point.cheapest.return_offset != 0:
        return point.entry
    return point.cheapest


def find_attach_points(
    analysis: BinaryAnalysis, wanted: Mapping[str, tuple[ProbedFunction, Instruction]], overlay_works: bool
) -> AttachPoints | str:
    """Places for all of `wanted`, by name, or why there are none.

    Without a symbol overlay a function is found by its own symbol, or any instruction by its place in the file. An
    overlay takes the place of the binary's own symbols: when one probe needs it, all of them go by it.
    """
    if all(_by_name(point) and spot.address == point.entry.address for point, spot in wanted.values()):
        return AttachPoints(
            {
                name: AttachPoint(str(point.symbol), spot, f"at its entry, by its symbol: {_how(spot)}")
                for name, (point, spot) in wanted.items()
            },
            None,
        )
    if overlay_works:
        try:
            elf = overlay(analysis.build_id, analysis.machine, {name: spot for name, (_, spot) in wanted.items()})
        except BinaryError as error:
            return str(error)
        return AttachPoints(
            {name: AttachPoint(name, spot, _why(point, spot)) for name, (point, spot) in wanted.items()},
            Overlay(elf, analysis.headers),
        )
    found: dict[str, AttachPoint] = {}
    for name, (point, spot) in wanted.items():
        placed = _without_overlay(analysis, point, spot)
        if isinstance(placed, str):
            return placed
        found[name] = placed
    return AttachPoints(found, None)


def _without_overlay(analysis: BinaryAnalysis, point: ProbedFunction, spot: Instruction) -> AttachPoint | str:
    """Return a place that every bpftrace finds by itself, or why there is none: by a symbol of the binary's own, or by
    a bare number (`--unsafe`), which up to 0.22 at the least it takes for nothing inside a function with a symbol."""
    if not _by_name(point):
        doubt = _doubt(analysis, spot)
        if doubt is not None:
            return f"{_NO_OVERLAY}, and by its file offset it may be missed: {doubt}"
        return AttachPoint(
            f"{spot.file_offset:#x}", spot, f"{_why(point, spot)}; by its file offset, for {_NO_OVERLAY}"
        )
    if spot.address == point.entry.address:
        return AttachPoint(str(point.symbol), spot, f"at its entry, by its symbol: {_how(spot)}")
    why = f"at its entry, by its symbol, though {_how(point.entry)}: {_NO_OVERLAY}"
    return AttachPoint(str(point.symbol), point.entry, why)


def _doubt(analysis: BinaryAnalysis, spot: Instruction) -> str | None:
    """Return why a bare number may lead bpftrace elsewhere, or None. It is a virtual address to bpftrace where a symbol
    covers it, be it one of a debug file that the node has, and a file offset where none does."""
    if spot.file_offset < 0:
        return "where in the file it lies is not known"
    if spot.file_offset in analysis.covered:
        return "as an address the same number lies in a function with a symbol"
    if spot.address != spot.file_offset and (analysis.build_id or analysis.debug_link):
        return "as an address the same number is other code, which a debug file may give a symbol"
    return None


def _by_name(point: ProbedFunction) -> bool:
    return point.symbol is not None and point.found in _BY_NAME


def _how(spot: Instruction) -> str:
    return f"`{spot.instruction}` {_WORDS[spot.cost]}"


def _why(point: ProbedFunction, spot: Instruction) -> str:
    found = "located in the code" if point.found is Found.LOCATED else f"by its {point.found}"
    why = f"{found}, at `{spot.instruction}`, which {_WORDS[spot.cost]}"
    if spot.address != point.entry.address:
        why += f"; its first instruction, `{point.entry.instruction}`, {_WORDS[point.entry.cost]}"
    return why
