"""Read the static probes (USDT) of a memcached built with `--enable-dtrace`, and where their arguments are.

`.note.stapsdt` (systemtap's sys/sdt.h) has a note for each copy of a probe: its address, the address of `.stapsdt.base`
at that time, the probe's semaphore, and its arguments as the assembler wrote them, such as `8@%r12 -4@24(%rsp)`. A
probe is a nop, and a cheap instruction for a uprobe.

The semaphore matters only to programs that check whether a tracer uses the probe (`..._ENABLED()`). memcached does not
(1.4.36 to 1.6.45): its probes fire without it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fleettrace.binary.cheapest import Instruction, instruction_at
from fleettrace.binary.elf import Elf, Machine

__all__ = ["Operand", "UsdtProbe", "usdt_probes"]

MAX_PROBES = 4096
"""Notes that are read; memcached has some 80."""
MAX_NOTES = 1 << 20
_NOTE = struct.Struct("<III")
_ADDRESSES = struct.Struct("<QQQ")
_NT_STAPSDT = 3
_ARGUMENT = re.compile(r"(-?)(\d)@(\S+(?:, *\S+)*)")
_NAMES = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
_X86 = {
    part: full
    for full in _NAMES
    for part in (f"r{full}", f"e{full}", full, f"{full[0]}l" if full.endswith("x") else f"{full}l")
} | {f"r{number}{part}": f"r{number}" for number in range(8, 16) for part in ("", "d", "w", "b")}
"""bpftrace's names of the registers, by the names of their parts."""
_ARM = {f"{part}{number}": f"r{number}" for number in range(31) for part in ("x", "w")} | {"sp": "sp"}


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument: in a register, in memory at `register` + `displacement`, or a constant."""

    size: int
    """Bytes: 1, 2, 4 or 8."""
    register: str | None
    """bpftrace's name for it (`ax`, `r12`); None for the constant `displacement`."""
    displacement: int = 0
    memory: bool = False


@dataclass(frozen=True, slots=True)
class UsdtProbe:
    """One copy of a static probe. An argument is None where its form is not supported."""

    provider: str
    name: str
    instruction: Instruction
    semaphore: int
    """Its address; 0 for none."""
    arguments: tuple[Operand | None, ...]


def usdt_probes(elf: Elf) -> tuple[UsdtProbe, ...]:
    """Return all static probes of a binary, in the order of their notes. Broken notes are skipped."""
    section = elf.section(".note.stapsdt")
    if section is None:
        return ()
    base = elf.section(".stapsdt.base")
    probes = []
    for body in _bodies(elf.contents(section)[:MAX_NOTES]):
        address, linked_base, semaphore = _ADDRESSES.unpack_from(body)
        # prelink(8) moves a file's addresses and does not change these notes.
        moved = base.address - linked_base if base is not None and linked_base else 0
        fields = body[_ADDRESSES.size :].split(b"\0")
        instruction = instruction_at(elf, address + moved)
        if len(fields) < 3 or instruction is None:
            continue
        provider, name, arguments = (word.decode("ascii", "replace") for word in fields[:3])
        operands = tuple(_operand(elf.machine, *found) for found in _ARGUMENT.findall(arguments.replace(", ", ",")))
        probes.append(UsdtProbe(provider, name, instruction, semaphore and semaphore + moved, operands))
        if len(probes) == MAX_PROBES:
            break
    return tuple(probes)


def _bodies(notes: bytes) -> Iterator[bytes]:
    position = 0
    while position + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, position)
        start = position + _NOTE.size
        body = start + (name_size + 3 & ~3)
        if body + size > len(notes):
            return
        if kind == _NT_STAPSDT and notes[start : start + name_size] == b"stapsdt\0" and size > _ADDRESSES.size:
            yield notes[body : body + size]
        position = body + (size + 3 & ~3)


def _operand(machine: Machine, _sign: str, size: str, text: str) -> Operand | None:
    if size not in "1248":
        return None
    width = int(size)
    if constant := re.fullmatch(r"\$?(-?\d{1,19})", text):
        return Operand(width, None, int(constant[1]))
    if machine is Machine.X86_64:
        found = re.fullmatch(r"(-?\d{0,10})\(%(\w+)\)", text)
        names, plain = _X86, text.removeprefix("%")
    else:
        found = re.fullmatch(r"\[(?:(?P<reg>\w+))(?:,#?(-?\d{1,10}))?\]", text)
        names, plain = _ARM, text
    if found is None:
        return Operand(width, names[plain]) if plain in names else None
    register, displacement = (found[2], found[1]) if machine is Machine.X86_64 else (found[1], found[2])
    if register not in names or displacement == "-":
        return None
    return Operand(width, names[register], int(displacement or 0), memory=True)
