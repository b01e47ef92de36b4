"""Disassemble machine code: a thin layer over capstone, and the names of the argument registers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fleettrace.binary.elf import Elf, Machine
from fleettrace.binary.work import INSTRUCTION_STEPS, Work

__all__ = ["ARGUMENTS", "block_before", "disassemble", "leaves", "reachable", "read", "successors", "written"]

MAX_FUNCTION = 1 << 16
"""Bytes of one function to disassemble."""

ARGUMENTS = {
    Machine.X86_64: (
        ("rdi", "edi", "di", "dil"),
        ("rsi", "esi", "si", "sil"),
        ("rdx", "edx", "dx", "dl", "dh"),
        ("rcx", "ecx", "cx", "cl", "ch"),
        ("r8", "r8d", "r8w", "r8b"),
    ),
    Machine.AARCH64: tuple((f"x{n}", f"w{n}") for n in range(5)),
}
"""The registers of the first five integer arguments, each with the names of its parts.

System V ABI, AMD64 supplement, section 3.2.3; AAPCS64, section 6.8.2.
"""

_TARGET = re.compile(r"(?:^|[ #])(0x[0-9a-f]+)$")


def disassemble(elf: Elf, start: int, end: int, count: int = 0) -> Iterator[Any]:
    """Yield the capstone instructions of [start, end), with operand detail, up to the first byte that is not code.

    `count` is the maximum number of instructions, 0 for all.
    """
    import capstone

    if elf.machine is Machine.X86_64:
        engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    else:
        engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    engine.detail = True
    elf.work.spend(INSTRUCTION_STEPS)
    for instruction in engine.disasm(elf.read(start, min(end - start, MAX_FUNCTION)), start, count):
        elf.work.spend(INSTRUCTION_STEPS)
        yield instruction


def leaves(instruction: Any) -> bool:
    """Return whether control may continue elsewhere than at the next instruction."""
    import capstone

    groups = (capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_RET, capstone.CS_GRP_INT)
    return any(instruction.group(group) for group in (*groups, capstone.CS_GRP_BRANCH_RELATIVE))


def written(instruction: Any) -> set[str]:
    """Return the names of the registers that `instruction` changes, including implied ones."""
    return {instruction.reg_name(register) for register in instruction.regs_access()[1]}


def read(instruction: Any) -> set[str]:
    """Return the names of the registers that `instruction` reads; none for `xor r, r`, which only clears."""
    operands = instruction.op_str.split(", ")
    if instruction.mnemonic == "xor" and len(operands) == 2 and operands[0] == operands[1]:
        return set()
    return {instruction.reg_name(register) for register in instruction.regs_access()[0]}


def reachable(code: Mapping[int, Any], start: int, limit: int, work: Work) -> Iterator[tuple[int, Any]]:
    """Yield (distance, instruction) for code that may run after `start`, within `limit` instructions, nearest first.

    `code` is one function, by address. Both paths of a conditional branch are followed; calls return; a jump out of the
    function, or to an address in a register, ends its path.
    """
    seen = {start}
    frontier = [start]
    for distance in range(limit):
        following: list[int] = []
        for address in frontier:
            instruction = code.get(address)
            if instruction is None:
                continue
            work.spend(INSTRUCTION_STEPS)
            yield distance, instruction
            following += [n for n in successors(instruction) if n not in seen]
            seen.update(following)
        frontier = following


def block_before(code: Mapping[int, Any], end: int) -> list[Any]:
    """Return the instructions that lead straight to the one at `end`, last first, back to the last call or jump."""
    addresses = sorted(address for address in code if address < end)
    block: list[Any] = []
    for address in reversed(addresses[-24:]):
        if code[address].mnemonic in ("call", "bl", "blr", "jmp", "b", "ret"):
            break
        block.append(code[address])
    return block


def successors(instruction: Any) -> list[int]:
    """Return the addresses at which control may continue; none where that is in a register."""
    name, after = instruction.mnemonic, instruction.address + instruction.size
    if not leaves(instruction) or name in ("call", "bl", "blr"):
        return [after]
    found = _TARGET.search(instruction.op_str)
    target = [int(found[1], 16)] if found else []
    return target if name in ("jmp", "b", "ret", "br") else [after, *target]
