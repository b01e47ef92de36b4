"""What kind of request it was, at one probe's price: the probed function's return address says who called.

Every call site of `do_item_get` belongs to one command or two, and two are told apart by its flag `do_update`. The
return address is compared in the kernel by its lowest 12 bits, which are the same wherever a binary is loaded (the load
address is a multiple of the page size), so neither the process nor the map has to be asked for anything. A look-up that
a request makes for the second time is told by the callers further up, and not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis
from fleettrace.binary.callsites import CallSite, Operation
from fleettrace.binary.cheapest import Instruction
from fleettrace.binary.elf import Machine
from fleettrace.binary.repeats import Caller

__all__ = ["REPEATED", "Tagging", "tagging"]

REPEATED = 255
"""The tag of a look-up that is not counted: its request was counted before."""

_PAGE_BITS = 0xFFF
_UNKNOWN = 0
"""The tag of a request from no known call site: no client causes that, a probe in the wrong place does."""
_UNTOLD = 1
"""The tag of a request from a call site that serves several kinds."""


@dataclass(frozen=True, slots=True)
class Tagging:
    """How the tag comes about: the statements that set `$tag`, a number.

    `ops` has the op of each tag, None for one that is not known; it is None itself where no call site tells. The first
    tag is that of a request from no known call site. `repeats`
    is how many ways a request can make a second look-up are recognised and get the tag `REPEATED`.
    """

    statements: str = "$tag = 0;"
    ops: tuple[str | None, ...] | None = None
    repeats: int = 0


def tagging(analysis: BinaryAnalysis, spot: Instruction) -> Tagging:
    """The tagging for a probe at `spot`."""
    address = _return_address(analysis.machine, spot)
    if address is None:
        return Tagging()
    tags: list[str | None] = [None, None]
    by_bits: dict[int, str] = {}
    for site in analysis.call_sites:
        bits = site.return_address & _PAGE_BITS
        value = _value(site, tags)
        # Two call sites that look the same from here and differ in what they mean: neither tells.
        by_bits[bits] = value if by_bits.get(bits, value) == value else str(_UNTOLD)
    by_value: dict[str, list[str]] = {}
    for bits, value in by_bits.items():
        by_value.setdefault(value, []).append(f"$caller == {bits:#x}")
    if not by_value.keys() - {str(_UNTOLD)}:
        return Tagging()
    # Branches, not conditional expressions: bpftrace 0.23.2 crashes on nested ones.
    branches = [f"if ({' || '.join(tests)}) {{ $tag = {value}; }}" for value, tests in by_value.items()]
    repeats = list(_repeats(analysis, spot, by_bits))
    return Tagging(
        f"$caller = {address} & {_PAGE_BITS:#x};\n\t$tag = {_UNKNOWN};\n\t"
        + "\n\t".join(["\n\telse ".join(branches), *repeats]),
        tuple(tags),
        len(repeats),
    )


def _repeats(analysis: BinaryAnalysis, spot: Instruction, known: Mapping[int, str]) -> Iterator[str]:
    """The statements that tell look-ups made for the second time, from the return addresses further up the stack."""
    if spot.return_offset is None:
        return
    for site in analysis.call_sites:
        bits = site.return_address & _PAGE_BITS
        if known[bits] == str(_UNTOLD):
            continue
        for chain in site.repeats:
            if not spot.caller_frame and any(caller.frames for caller in chain):
                continue
            text = f"$tag = {REPEATED};"
            for caller in reversed(chain):
                above = f"*(uint64*)({_position(spot.return_offset, caller)}) & {_PAGE_BITS:#x}"
                text = f"$outer = {above}; if ($outer == {caller.address & _PAGE_BITS:#x}) {{ {text} }}"
            yield f"if ($caller == {bits:#x}) {{ {text} }}"


def _position(return_offset: int, caller: Caller) -> str:
    """Return the expression for where a caller's return address lies."""
    if not caller.frames:
        return f'reg("sp") + {return_offset + caller.offset}'
    frame = 'reg("bp")'
    for _ in range(caller.frames - 1):
        frame = f"*(uint64*)({frame})"
    return f"{frame} + {caller.offset}"


def _return_address(machine: Machine, spot: Instruction) -> str | None:
    # bpftrace's name of aarch64's link register (src/arch/aarch64.cpp); pointer authentication leaves its low bits.
    if machine is Machine.AARCH64:
        return None if spot.return_offset is not None else 'reg("r30")'
    if spot.return_offset is None:
        return None
    return f'*(uint64*)(reg("sp") + {spot.return_offset})'


def _value(site: CallSite, tags: list[str | None]) -> str:
    """The expression for the tag of one call site; new ops are added to `tags`."""

    def index(operation: Operation | None) -> int:
        if operation is None:
            return _UNTOLD
        if operation.value not in tags:
            tags.append(operation.value)
        return tags.index(operation.value)

    if site.fetch is None or site.fetch is site.operation:
        return str(index(site.operation))
    return f"((arg4 & 1) == 1 ? {index(site.fetch)} : {index(site.operation)})"
