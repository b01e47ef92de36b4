"""Find the cheapest instruction of a function on which a probe still sees every call and unchanged arguments.

A uprobe replaces an instruction by a trap; the cost depends on how the kernel then runs that instruction. It
**emulates** some, and **single-steps** a copy of any other. Single-stepping costs a second trap and, on an x86 virtual
machine, an exit to the hypervisor for each trap: ten times as much. The search follows the straight line from the
entry, as long as the argument registers are unchanged, and takes the first emulated instruction.

x86-64, arch/x86/kernel/uprobes.c: `branch_setup_xol_ops` emulates nop (90), call rel32, jmp and jcc (Linux 3.16),
`push_setup_xol_ops` push of a register with no prefix but REX 41 (Linux 5.0; older ones step it). `endbr64` is stepped,
multi-byte nops are before Linux 6.17, and a 66 prefix on any of them makes older kernels refuse the probe.
aarch64, arch/arm64/kernel/probes/decode-insn.c: `arm_probe_decode_insn` simulates b, bl, b.cond, cbz, cbnz, tbz, tbnz,
adr, adrp, br, blr and ret; hints (nop, bti, paciasp) are stepped; uprobes refuse a load of a literal.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fleettrace.binary.elf import Elf, Machine
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS, disassemble, leaves, written
from fleettrace.binary.unwind import return_address_slot

__all__ = [
    "Instruction",
    "InstructionCost",
    "cheapest_instruction",
    "entry_instruction",
    "instruction_at",
    "predicted_microseconds",
    "straight_line",
]

CODE_AFTER = 32
"""Bytes behind the instruction that a node compares too."""
MAX_WALK = 64
"""Instructions from the entry that are examined; real prologues end their straight line within 30."""


class InstructionCost(StrEnum):
    """How the kernel runs the probed instruction."""

    EMULATED = "emulated"
    STEPPED = "stepped"


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction of a function, with what a probe on it needs.

    `address` is virtual, `file_offset` the offset in the file (which the kernel's uprobe takes; -1 if unknown),
    `offset` the bytes from the function's entry. `return_offset` is the bytes from the stack pointer up to the return
    address when the probe fires; None where that is in the link register (aarch64's x30) or not known.
    `caller_frame`: the frame pointer (rbp) is still the caller's there.
    `code` is the function's code up to and including the instruction, in hex, and `after` up to `CODE_AFTER` bytes
    that follow it in the file: the node compares both before it attaches. Many functions begin with a `push` of one
    byte, which alone matches in a thousand places.
    """

    address: int
    file_offset: int
    offset: int
    text: str
    cost: InstructionCost
    return_offset: int | None
    code: str = ""
    caller_frame: bool = False
    after: str = ""

    @property
    def encoding(self) -> bytes:
        """The bytes of the instruction itself."""
        return bytes.fromhex(self.code)[self.offset :]

    @property
    def is_nop5(self) -> bool:
        """Whether this is an x86 nop of five bytes, in any of its encodings (insn_is_nop, arch/x86/lib/insn.c)."""
        return len(self.encoding) == 5 and _NOP_X86.fullmatch(self.encoding) is not None


_MICROSECONDS = {InstructionCost.EMULATED: 2.8, InstructionCost.STEPPED: 20.0}


def predicted_microseconds(machine: Machine, cost: InstructionCost) -> float | None:
    """Return the CPU microseconds that a recording probe adds to one call; None where no measurement exists.

    Measured on x86-64 as a KVM guest (Linux 6.18): 2.8 with a key recorded, 1.7 when only counting; 17 to 23 when the
    instruction is single-stepped. Stepping is cheaper on bare metal. There is no measurement for aarch64.
    """
    return _MICROSECONDS[cost] if machine is Machine.X86_64 else None


_NOP_X86 = re.compile(
    rb"[\x26\x2e\x36\x3e\x64-\x67\xf2\xf3]*[\x40-\x4f]?"
    rb"(?:\x0f\x1f.*|\x90|\x8d.*\x00|[\x89\x8b][\xc0\xc9\xd2\xdb\xe4\xed\xf6\xff]|\xe9\x00{4})",
    re.S,
)
_EMULATED_X86 = re.compile(
    rb"[\x50-\x57]|\x41[\x50-\x57]|\x90|\xe8.{4}|\xe9.{4}|\xeb.|[\x70-\x7f].|\x0f[\x80-\x8f].{4}", re.S
)
_SIMULATED_ARM = re.compile(r"b|bl|b\.\w+|cbz|cbnz|tbz|tbnz|adr|adrp|br|blr|ret")


def entry_instruction(elf: Elf, function: Function) -> Instruction | None:
    """Return the first instruction of `function`, or None where its bytes are not code."""
    return next(straight_line(elf, function, 0), None)


def instruction_at(elf: Elf, address: int) -> Instruction | None:
    """Return the instruction at a virtual address, of an unknown function; None where there is no code."""
    instruction = next(disassemble(elf, address, address + 16, 1), None) if elf.is_code(address) else None
    offset = elf.offset_of(address)
    if instruction is None or offset is None:
        return None
    text = f"{instruction.mnemonic} {instruction.op_str}".strip()
    code, after = bytes(instruction.bytes).hex(), elf.read(address + instruction.size, CODE_AFTER).hex()
    return Instruction(address, offset, 0, text, _cost(elf, instruction), None, code, after=after)


def cheapest_instruction(elf: Elf, function: Function, arguments: int) -> Instruction | None:
    """Return the first emulated instruction with the first `arguments` (at most 5) unchanged, else the entry.

    Every call passes the instruction exactly once: no instruction before it branches, and no branch of the binary leads
    between the entry and it. None where the entry is not code.
    """
    best: Instruction | None = None
    targets = _branch_targets(elf, function)
    for candidate in straight_line(elf, function, arguments):
        if any(function.start < target <= candidate.address for target in targets):
            break
        # A nop of five bytes is the last choice: newer kernels replace it by a call (probes/optimized_uprobes.py).
        if best is None or best.is_nop5 or candidate.cost is InstructionCost.EMULATED:
            best = candidate
        if best.cost is InstructionCost.EMULATED:
            break
    return best


def straight_line(elf: Elf, function: Function, arguments: int) -> Iterator[Instruction]:
    """Yield the instructions that every call runs, in order, until one changes an argument or branches."""
    registers = {name for names in ARGUMENTS[elf.machine][:arguments] for name in names}
    pushed: int | None = 0
    frame = elf.machine is Machine.X86_64
    for instruction in disassemble(elf, function.start, function.end, MAX_WALK):
        yield replace(_instruction(elf, function, instruction, pushed), caller_frame=frame)
        changed = written(instruction)
        frame = frame and not changed & {"rbp", "ebp"}
        if changed & registers or (leaves(instruction) and instruction.address != function.hook):
            return
        pushed = _pushed(instruction, pushed, changed)


def _pushed(instruction: Any, pushed: int | None, changed: set[str]) -> int | None:
    """Return the bytes from the stack pointer to the return address after `instruction`; None once unknown (x86)."""
    if pushed is None or instruction.mnemonic == "call" or not changed & {"rsp", "esp"}:
        return pushed
    if instruction.mnemonic == "push":
        return pushed + 8
    matched = re.fullmatch(r"rsp, (0x[0-9a-f]+|\d+)", instruction.op_str)
    if instruction.mnemonic == "sub" and matched is not None:
        return pushed + int(matched[1], 0)
    return None


def _instruction(elf: Elf, function: Function, instruction: Any, pushed: int | None) -> Instruction:
    address = instruction.address
    offset = elf.offset_of(address)
    text = f"{instruction.mnemonic} {instruction.op_str}".strip()
    slot = _return_offset(elf, function, address, pushed)
    end = address + instruction.size
    code, after = elf.read(function.start, end - function.start), elf.read(end, CODE_AFTER)
    return Instruction(
        address,
        -1 if offset is None else offset,
        address - function.start,
        text,
        _cost(elf, instruction),
        slot,
        code.hex(),
        after=after.hex(),
    )


def _return_offset(elf: Elf, function: Function, address: int, pushed: int | None) -> int | None:
    """Return `pushed`, the offset by counting pushes, unless the unwind table contradicts it."""
    if elf.machine is not Machine.X86_64:
        return None
    if function.unwind is None:
        return pushed
    slot = return_address_slot(elf.machine, function.unwind, function.start, address)
    return pushed if slot == pushed else None


def _cost(elf: Elf, instruction: Any) -> InstructionCost:
    if elf.machine is Machine.X86_64:
        emulated = _EMULATED_X86.fullmatch(bytes(instruction.bytes)) is not None
    else:
        emulated = _SIMULATED_ARM.fullmatch(instruction.mnemonic) is not None
    return InstructionCost.EMULATED if emulated else InstructionCost.STEPPED


def _branch_targets(elf: Elf, function: Function) -> set[int]:
    """Return where branches enter `function` past its entry: its own branches, and long jumps of the binary."""
    own = (i for i in disassemble(elf, function.start, function.end) if leaves(i) and i.mnemonic not in ("call", "bl"))
    targets = {int(found[1], 16) for i in own if (found := re.search(r"(?:^|[ #])(0x[0-9a-f]+)$", i.op_str))}
    return {t for t in targets | _far_jumps(elf, function) if function.start < t < function.end}


def _far_jumps(elf: Elf, function: Function) -> set[int]:
    found: set[int] = set()
    for base, code in elf.code():
        if elf.machine is Machine.X86_64:
            for match in re.finditer(rb"(?:\xe9|\x0f[\x80-\x8f])(?=(.{4}))", code, re.S):
                elf.work.spend()
                target = base + match.end() + 4 + int.from_bytes(match[1], "little", signed=True)
                if function.start < target < function.end:
                    found.add(target)
        else:
            elf.work.spend(len(code) >> 5)
            words = struct.unpack_from(f"<{len(code) // 4}I", code)
            for index, word in enumerate(words):
                if word >> 26 == 0b000101:
                    target = base + 4 * index + 4 * ((word & 0x3FFFFFF ^ 0x2000000) - 0x2000000)
                    if function.start < target < function.end:
                        found.add(target)
    return found
