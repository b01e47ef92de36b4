"""Recognize the kind of a request from the probed function's return address, without a second probe.

Each call site of `do_item_get` belongs to one command, or to two that its flag `do_update` distinguishes. The program
compares the lowest 12 bits of the return address. The load address of a binary is a multiple of the page size, so these
bits are the same in every process. When a request looks its key up a second time, the program recognizes that by the
callers further up the stack and does not count it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleettrace.binary.elf import Machine

if TYPE_CHECKING:
    from fleettrace.binary.analysis import BinaryAnalysis
    from fleettrace.binary.callsites import CallSite, Operation
    from fleettrace.binary.cheapest import Instruction
    from fleettrace.binary.repeats import Caller

__all__ = ["REPEATED", "Tagging", "tagging"]

REPEATED = 255
"""The tag of a second look-up by the same request, which the program does not count."""

_PAGE_BITS = 0xFFF
_UNKNOWN = 0
"""The tag of a request from no known call site: no client causes that, a probe in the wrong place does."""
_MIXED = 1
"""The tag of a request from a call site that serves several kinds."""


@dataclass(frozen=True, slots=True)
class Tagging:
    """The statements that set `$tag`, a number that stands for the kind of request.

    `ops` has the operation of each tag, None for an unknown one; it is None itself if no call site is recognized. The
    first tag is that of a request from no known call site. `repeats` is the number of ways to make a second look-up
    that get the tag `REPEATED`.
    """

    statements: str = "$tag = 0;"
    ops: tuple[str | None, ...] | None = None
    repeats: int = 0


def tagging(
    analysis: BinaryAnalysis, instruction: Instruction, flag: str = "arg4", frame: str | None = None
) -> Tagging:
    """Return the tagging for a probe on `instruction`, where the expression `flag` is do_update.

    `frame` is the expression for the caller's frame pointer, if rbp is not (`Instruction.caller_frame`).
    """
    address = _return_address(analysis.machine, instruction)
    if address is None:
        return Tagging()
    tags: list[str | None] = [None, None]
    by_bits: dict[int, str] = {}
    for call_site in analysis.call_sites:
        bits = call_site.return_address & _PAGE_BITS
        value = _value(call_site, tags, flag)
        # Two call sites with equal bits and different meanings: neither is recognized.
        by_bits[bits] = value if by_bits.get(bits, value) == value else str(_MIXED)
    by_value: dict[str, list[str]] = {}
    for bits, value in by_bits.items():
        by_value.setdefault(value, []).append(f"$caller == {bits:#x}")
    if not by_value.keys() - {str(_MIXED)}:
        return Tagging()
    # Branches, not conditional expressions: bpftrace 0.23.2 crashes on nested ones.
    branches = [f"if ({' || '.join(tests)}) {{ $tag = {value}; }}" for value, tests in by_value.items()]
    if frame is None and instruction.caller_frame:
        frame = 'reg("bp")'
    repeats = list(_repeats(analysis, instruction, by_bits, frame))
    return Tagging(
        f"$caller = {address} & {_PAGE_BITS:#x};\n\t$tag = {_UNKNOWN};\n\t"
        + "\n\t".join(["\n\telse ".join(branches), *repeats]),
        tuple(tags),
        len(repeats),
    )


def _repeats(
    analysis: BinaryAnalysis, instruction: Instruction, known: Mapping[int, str], frame: str | None
) -> Iterator[str]:
    """Yield the statements that recognize second look-ups by the return addresses further up the stack."""
    if instruction.return_offset is None:
        return
    for call_site in analysis.call_sites:
        bits = call_site.return_address & _PAGE_BITS
        if known[bits] == str(_MIXED):
            continue
        for chain in call_site.repeats:
            if frame is None and any(caller.frames for caller in chain):
                continue
            text = f"$tag = {REPEATED};"
            for caller in reversed(chain):
                above = f"*(uint64*)({_position(instruction.return_offset, caller, frame or '')}) & {_PAGE_BITS:#x}"
                text = f"$outer = {above}; if ($outer == {caller.address & _PAGE_BITS:#x}) {{ {text} }}"
            yield f"if ($caller == {bits:#x}) {{ {text} }}"


def _position(return_offset: int, caller: Caller, frame: str) -> str:
    """Return the expression for the address of a caller's return address on the stack."""
    if not caller.frames:
        return f'reg("sp") + {return_offset + caller.offset}'
    for _ in range(caller.frames - 1):
        frame = f"*(uint64*)({frame})"
    return f"{frame} + {caller.offset}"


def _return_address(machine: Machine, instruction: Instruction) -> str | None:
    # r30 is bpftrace's name of aarch64's link register (src/arch/aarch64.cpp); pointer authentication keeps its low
    # bits.
    if machine is Machine.AARCH64:
        return None if instruction.return_offset is not None else 'reg("r30")'
    if instruction.return_offset is None:
        return None
    return f'*(uint64*)(reg("sp") + {instruction.return_offset})'


def _value(call_site: CallSite, tags: list[str | None], flag: str) -> str:
    """Return the expression for the tag of a call site, and add new operations to `tags`."""

    def index(operation: Operation | None) -> int:
        if operation is None:
            return _MIXED
        if operation.value not in tags:
            tags.append(operation.value)
        return tags.index(operation.value)

    if call_site.fetch is None or call_site.fetch is call_site.operation:
        return str(index(call_site.operation))
    return f"(({flag} & 1) == 1 ? {index(call_site.fetch)} : {index(call_site.operation)})"
