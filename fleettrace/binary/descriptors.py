"""Find where the connection's descriptor lies behind the fourth argument of `do_item_get`.

That argument is the connection (`conn *`) up to 1.6.18, and the thread (`LIBEVENT_THREAD *`) after that; `sfd` of the
one and `cur_sfd` of the other are an int at a small offset, which differs by version and build. do_item_get itself
passes the descriptor to the log of fetches: LOGGER_LOG(..., LOGGER_ITEM_GET, ..., c->sfd) in items.c. It reads no other
int of that structure, so the only 32-bit load through the argument is the descriptor's.
The log has no descriptor in older versions, such as 1.4.39. There the argument is the connection, and the functions
that print `c->sfd` show its offset: they load it right before they call fprintf with one of three texts. At least two
loads must agree, and do_item_get must read a pointer (`c->thread`) through its argument.
Where neither is found the answer is None: a caller must then report the clients as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fleettrace.binary.elf import Elf, Machine
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS, block_before, disassemble, successors, written
from fleettrace.binary.references import References, string_addresses
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

_POINTER = re.compile(rf"{_WIDE}, (?:qword ptr )?\[({_WIDE})(?:(?: \+ |, #)(?:0x[0-9a-f]+|\d+))?\]")
_TEXTS = (b"<%d connection closed.\n", b">%d %s\n", b"<%d %s\n")
"""What conn_close, out_string and process_command print of a connection (memcached.c of 1.4)."""
_PRINTED = ("edx", "ecx")
"""The registers of the number after the text in fprintf, and in __fprintf_chk, which has one argument more."""
_LEAST_AGREEING = 2
_MAX_USERS = 16
"""Functions that print one of the texts, at most; real binaries have three."""

_Code = Mapping[int, Any]


def descriptor_offset(references: References, function: Function) -> int | None:
    """Return the offset of the descriptor behind the fourth argument of do_item_get (`function`); None if unknown."""
    elf = references.elf
    code = {each.address: each for each in disassemble(elf, function.start, function.end)}
    first = ARGUMENTS[elf.machine][_ARGUMENT][0]
    holders = _holders(elf, code, function, first)
    found = {offset for address, held in holders.items() for offset in _loads(code[address], held)}
    if found:
        return found.pop() if len(found) == 1 else None
    points = any(_reads_pointer(code[address], held) for address, held in holders.items())
    return _printed_offset(references) if points and elf.machine is Machine.X86_64 else None


def _reads_pointer(instruction: Any, held: frozenset[str]) -> bool:
    found = _POINTER.fullmatch(instruction.op_str) if instruction.mnemonic == "mov" else None
    return found is not None and found[1] in held


def _printed_offset(references: References) -> int | None:
    """Return the offset of the number that functions print with the texts about connections; None if they disagree."""
    users = references.users(_TEXTS)
    found: list[int] = []
    for text, starts in users.items():
        addresses = set(string_addresses(references.elf, text))
        for start in sorted(starts)[:_MAX_USERS]:
            found += _printed(references, start, addresses)
    return found[0] if len(found) >= _LEAST_AGREEING and len(set(found)) == 1 else None


def _printed(references: References, start: int, addresses: set[int]) -> Iterator[int]:
    """Yield the offset of each number printed with a text at one of `addresses` by the function at `start`."""
    function = references.functions.starting(start)
    if function is None:
        return
    code = {each.address: each for each in disassemble(references.elf, function.start, function.end)}
    for address, instruction in code.items():
        if not _refers(instruction, addresses):
            continue
        for before in block_before(code, address):
            loaded = _LOAD.fullmatch(before.op_str) if before.mnemonic == "mov" else None
            if loaded and before.op_str.startswith(_PRINTED) and loaded[1] != "rsp":
                yield int(loaded[2] or "0", 0)
                break


def _refers(instruction: Any, addresses: set[int]) -> bool:
    """Return whether the instruction takes one of these addresses."""
    if relative := re.search(r"\[rip ([+-]) (0x[0-9a-f]+)\]", instruction.op_str):
        return instruction.address + instruction.size + int(relative[1] + relative[2], 16) in addresses
    absolute = re.fullmatch(r"\w+, (0x[0-9a-f]+)", instruction.op_str)
    return absolute is not None and int(absolute[1], 16) in addresses


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
