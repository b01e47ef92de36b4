"""Machine code, instruction by instruction: a thin layer over capstone, and the names of the argument registers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fleettrace.binary.elf import Elf, Machine

__all__ = ["ARGUMENTS", "disassemble", "leaves", "written"]

MAX_FUNCTION = 1 << 16
"""Bytes of one function that are disassembled."""

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


def disassemble(elf: Elf, start: int, end: int) -> Iterator[Any]:
    """The capstone instructions of [start, end), with operand detail; stops at the first byte that is none."""
    import capstone

    if elf.machine is Machine.X86_64:
        engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    else:
        engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    engine.detail = True
    yield from engine.disasm(elf.read(start, min(end - start, MAX_FUNCTION)), start)


def leaves(instruction: Any) -> bool:
    """Whether control may go elsewhere than to the next instruction."""
    import capstone

    groups = (capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_RET, capstone.CS_GRP_INT)
    return any(instruction.group(group) for group in (*groups, capstone.CS_GRP_BRANCH_RELATIVE))


def written(instruction: Any) -> set[str]:
    """The names of the registers that `instruction` changes, implied ones included."""
    return {instruction.reg_name(register) for register in instruction.regs_access()[1]}
