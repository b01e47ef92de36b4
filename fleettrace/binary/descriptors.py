"""Find where the connection's descriptor lies behind the fourth argument of `do_item_get`.

That argument is the connection (`conn *`) up to 1.6.18, and the thread (`LIBEVENT_THREAD *`) after that; `sfd` of the
one and `cur_sfd` of the other are an int at a small offset, which differs by version and build. do_item_get itself
passes the descriptor to the log of fetches: LOGGER_LOG(..., LOGGER_ITEM_GET, ..., c->sfd) in items.c. It reads no other
int of that structure, so the only 32-bit load through the argument is the descriptor's.
Where there is no such load (the log has no descriptor before 1.5.0), the answer is None: a caller must then report the
clients as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fleettrace.binary.elf import Elf, Machine
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS, disassemble, successors, written
from fleettrace.binary.work import INSTRUCTION_STEPS

__all__ = ["MAX_OFFSET", "descriptor_offset"]

MAX_OFFSET = 1 << 16
"""Bytes into the structure. `cur_sfd` lies some hundred bytes into LIBEVENT_THREAD, behind its arrays of counters up to
some ten thousand."""

_ARGUMENT = 3
_VOLATILE = {
    Machine.X86_64: frozenset(("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")),
    Machine.AARCH64: frozenset(f"x{number}" for number in range(19)),
}
"""The registers that a call may change (System V ABI, AMD64 supplement, 3.2.1; AAPCS64, 6.1.1)."""
_CALLS = ("call", "bl", "blr")
_WIDE = r"(?:r[a-z]{2}|r\d+|x\d+)"
_NARROW = r"(?:e[a-z]{2}|r\d+d|w\d+)"
_SLOT = r"(?:qword ptr )?(\[[^\]]*\])"
_LOAD = re.compile(rf"{_NARROW}, (?:dword ptr )?\[({_WIDE})(?:(?: \+ |, #)(0x[0-9a-f]+|\d+))?\]")

_Code = Mapping[int, Any]


def descriptor_offset(elf: Elf, function: Function) -> int | None:
    """Return the offset of the descriptor behind the fourth argument of do_item_get (`function`); None if unknown."""
    code = {each.address: each for each in disassemble(elf, function.start, function.end)}
    first = ARGUMENTS[elf.machine][_ARGUMENT][0]
    holders = _holders(elf, code, function, first)
    found = {offset for address, held in holders.items() for offset in _loads(code[address], held)}
    return found.pop() if len(found) == 1 else None


def _holders(elf: Elf, code: _Code, function: Function, first: str) -> dict[int, frozenset[str]]:
    """Return, by instruction, the registers and stack slots that hold the argument when it begins, on every path."""
    holders = {function.start: frozenset((first,))}
    waiting = [function.start]
    while waiting:
        address = waiting.pop()
        instruction = code.get(address)
        if instruction is None:
            continue
        elf.work.spend(INSTRUCTION_STEPS)
        # The profiler that a function calls first (`-mfentry`) changes no argument.
        hooked = address == function.hook
        after = holders[address] if hooked else _after(elf.machine, instruction, holders[address])
        for following in successors(instruction):
            known = holders.get(following)
            merged = after if known is None else known & after
            if merged != known and following in code:
                holders[following] = merged
                waiting.append(following)
    return {address: held for address, held in holders.items() if address in code}


def _after(machine: Machine, instruction: Any, held: frozenset[str]) -> frozenset[str]:
    """Return what holds the argument once `instruction` has run."""
    name, operands = instruction.mnemonic, instruction.op_str
    if name in _CALLS:
        return held - _VOLATILE[machine]
    changed = frozenset(_whole(register) for register in written(instruction))
    left = held - changed
    if name == "mov" and (stored := re.fullmatch(rf"{_SLOT}, ({_WIDE})", operands)):
        return left | {stored[1]} if stored[2] in held else left - {stored[1]}
    if name in ("str", "stur") and (stored := re.fullmatch(rf"({_WIDE}), {_SLOT}", operands)):
        return left | {stored[2]} if stored[1] in held else left - {stored[2]}
    if name in ("mov", "ldr", "ldur") and (copied := re.fullmatch(rf"({_WIDE}), (?:({_WIDE})|{_SLOT})", operands)):
        return left | {copied[1]} if (copied[2] or copied[3]) in held else left
    return left


def _loads(instruction: Any, held: frozenset[str]) -> Iterator[int]:
    """Yield the offset of a 32-bit load through the argument."""
    if instruction.mnemonic not in ("mov", "ldr", "ldrsw", "movsxd"):
        return
    found = _LOAD.fullmatch(instruction.op_str)
    if found and found[1] in held and (offset := int(found[2] or "0", 0)) < MAX_OFFSET:
        yield offset


def _whole(register: str) -> str:
    """Return the name of the 64-bit register that a part belongs to."""
    if found := re.fullmatch(r"(r\d+)[dwb]", register):
        return found[1]
    if found := re.fullmatch(r"w(\d+)", register):
        return f"x{found[1]}"
    if found := re.fullmatch(r"e?([abcd])[xlh]", register):
        return f"r{found[1]}x"
    if found := re.fullmatch(r"e?(si|di|bp|sp)l?", register):
        return f"r{found[1]}"
    return register
