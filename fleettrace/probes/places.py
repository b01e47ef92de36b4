"""Where in a binary probes go, and how bpftrace is led there: by its own symbols, an overlay's, or addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis, Found, Point
from fleettrace.binary.cheapest import Cost, Spot
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.overlay import overlay
from fleettrace.probes.model import Overlay

__all__ = ["MAIN", "Place", "Places", "find_places", "place"]

MAIN = "fleettrace_point"
"""The symbol that an overlay gives to the instruction under the main probe."""
_WORDS = {Cost.EMULATED: "is emulated by the kernel", Cost.STEPPED: "is single-stepped"}
_BY_NAME = (Found.SYMTAB, Found.DYNSYM)
"""Where bpftrace finds a symbol by itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """One probe's place: by the name that bpftrace knows it by, and what was chosen there, in words."""

    name: str
    spot: Spot
    why: str


@dataclass(frozen=True, slots=True)
class Places:
    """The places of all the probes on one binary, by what the caller called them, and the overlay they need."""

    places: Mapping[str, Place]
    overlay: Overlay | None


def place(point: Point, *, returns: bool = False) -> Spot:
    """The cheapest instruction of a function to put a probe on. One that `returns` needs the return address where a
    call leaves it, on top of the stack or in aarch64's link register at the entry, for the kernel replaces it there
    (uprobes' arch_uretprobe_hijack_return_addr). A probe behind that instruction reads the kernel's address instead;
    one on the same instruction reads the caller's, as handlers run first (kernel/events/uprobes.c, handler_chain)."""
    if returns and point.cheapest.return_offset != 0:
        return point.entry
    return point.cheapest


def find_places(
    analysis: BinaryAnalysis, wanted: Mapping[str, tuple[Point, Spot]], overlay_works: bool
) -> Places | str:
    """Places for all of `wanted`, by name, or why there are none.

    Without a symbol overlay a function is found by its own symbol, or any instruction by its address. An
    overlay takes the place of the binary's own symbols: when one probe needs it, all of them go by it.
    """
    if all(_by_name(point) and spot.address == point.entry.address for point, spot in wanted.values()):
        return Places(
            {
                name: Place(str(point.symbol), spot, f"at its entry, by its symbol: {_how(spot)}")
                for name, (point, spot) in wanted.items()
            },
            None,
        )
    if overlay_works and analysis.build_id is not None:
        try:
            elf = overlay(analysis.build_id, analysis.machine, {name: spot for name, (_, spot) in wanted.items()})
        except BinaryError as error:
            return str(error)
        return Places(
            {name: Place(name, spot, _why(point, spot)) for name, (point, spot) in wanted.items()}, Overlay(elf)
        )
    lacking = "the binary has no build id" if analysis.build_id is None else "a symbol overlay does not work there"
    return Places({name: _without_overlay(point, spot, lacking) for name, (point, spot) in wanted.items()}, None)


def _without_overlay(point: Point, spot: Spot, lacking: str) -> Place:
    """A place that every bpftrace finds by itself: from 0.11 on it takes an address where no symbol is (`--unsafe`),
    and up to 0.22 at the least it takes none within a function that has one."""
    if not _by_name(point):
        return Place(f"{spot.address:#x}", spot, f"{_why(point, spot)}; by its address, for {lacking}")
    if spot.address == point.entry.address:
        return Place(str(point.symbol), spot, f"at its entry, by its symbol: {_how(spot)}")
    why = f"at its entry, by its symbol, though {_how(point.entry)}: {lacking}"
    return Place(str(point.symbol), point.entry, why)


def _by_name(point: Point) -> bool:
    return point.symbol is not None and point.found in _BY_NAME


def _how(spot: Spot) -> str:
    return f"`{spot.instruction}` {_WORDS[spot.cost]}"


def _why(point: Point, spot: Spot) -> str:
    found = "located in the code" if point.found is Found.LOCATED else f"by its {point.found}"
    why = f"{found}, at `{spot.instruction}`, which {_WORDS[spot.cost]}"
    if spot.address != point.entry.address:
        why += f"; its first instruction, `{point.entry.instruction}`, {_WORDS[point.entry.cost]}"
    return why
