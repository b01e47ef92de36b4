"""Find the stack position of a function's return address at an instruction, from the unwind table.

One function's entry of `.eh_frame` holds a small program. It computes, for each instruction, how far the stack pointer
is from the caller's frame. Format: DWARF 5, section 6.4; the GNU operations as in gcc's unwind-dw2.c.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fleettrace.binary.elf import Machine

__all__ = ["MAX_UNWIND", "Cursor", "Unwind", "has_frame_pointer", "return_address_slot"]

MAX_UNWIND = 4096
"""Bytes of one entry's unwind program to run."""


@dataclass(frozen=True, slots=True)
class Unwind:
    """The unwind programs of one function: that of its CIE (`initial`) and its own."""

    code_align: int
    data_align: int
    initial: bytes
    program: bytes


class Cursor:
    """Reads `.eh_frame` from a position. Reading past its end raises `struct.error` or `IndexError`."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data, self.position, self.end = data, position, end

    def fixed(self, layout: str) -> int:
        value: int = struct.unpack_from(layout, self.data, self.position)[0]
        self.position += struct.calcsize(layout)
        if self.position > self.end:
            raise IndexError
        return value

    def uleb(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.fixed("<B")
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise IndexError

    def sleb(self) -> int:
        start = self.position
        value = self.uleb()
        bits = 7 * (self.position - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def rest(self) -> bytes:
        return self.data[self.position : self.end]


_RETURN_COLUMN = {Machine.X86_64: 16, Machine.AARCH64: 30}
_STACK_COLUMN = {Machine.X86_64: 7, Machine.AARCH64: 31}
"""The DWARF numbers of the return address and of the stack pointer."""
_FRAME_COLUMN = 6
"""The DWARF number of x86-64's rbp."""


@dataclass(slots=True)
class _Row:
    """One row of the unwind table: the frame address is `register` + `offset`; saved registers lie relative to it."""

    register: int
    offset: int
    saved: dict[int, int]


def return_address_slot(machine: Machine, unwind: Unwind, start: int, address: int) -> int | None:
    """Return the bytes from the stack pointer to the return address, just before `address` in the function at `start`.

    None where the table has no answer, where the frame is not relative to the stack pointer, and while the return
    address is still in a register (aarch64's x30).
    """
    try:
        row = _row(unwind, start, address)
    except (struct.error, IndexError, ValueError):
        return None
    saved = row.saved.get(_RETURN_COLUMN[machine])
    if saved is None or row.register != _STACK_COLUMN[machine]:
        return None
    slot = row.offset + saved
    return slot if 0 <= slot < 1 << 20 else None


def has_frame_pointer(unwind: Unwind, start: int, address: int) -> bool:
    """Return whether rbp, just before `address`, leads to the caller's rbp and, 8 bytes above, the return address."""
    try:
        row = _row(unwind, start, address)
    except (struct.error, IndexError, ValueError):
        return False
    saved = (row.saved.get(_RETURN_COLUMN[Machine.X86_64]), row.saved.get(_FRAME_COLUMN))
    return (row.register, row.offset, *saved) == (_FRAME_COLUMN, 16, -8, -16)


def _row(unwind: Unwind, start: int, address: int) -> _Row:
    row = _Row(-1, 0, {})
    _run(unwind, unwind.initial, row, start, address, None)
    initial = dict(row.saved)
    _run(unwind, unwind.program, row, start, address, initial)
    return row


def _run(
    unwind: Unwind, program: bytes, row: _Row, location: int, address: int, initial: dict[int, int] | None
) -> None:
    """Run an unwind program up to `address` (DWARF 5, section 6.4.2). An unknown operation raises ValueError."""
    reader = Cursor(program, 0, len(program))
    stack: list[tuple[int, int, dict[int, int]]] = []
    while reader.position < reader.end:
        code = reader.fixed("<B")
        high, low = code & 0xC0, code & 0x3F
        if high == 0x40 or code in (2, 3, 4):
            step = low if high else reader.fixed({2: "<B", 3: "<H", 4: "<I"}[code])
            location += step * unwind.code_align
            if location > address:
                return
        elif high == 0x80:
            row.saved[low] = reader.uleb() * unwind.data_align
        elif high == 0xC0 or code == 6:
            register = low if high else reader.uleb()
            row.saved.pop(register, None)
            if initial and register in initial:
                row.saved[register] = initial[register]
        elif code == 0x0A:
            stack.append((row.register, row.offset, dict(row.saved)))
        elif code == 0x0B:
            row.register, row.offset, row.saved = stack.pop()
        else:
            _rare(code, reader, row, unwind)


def _rare(code: int, reader: Cursor, row: _Row, unwind: Unwind) -> None:
    if code in (0, 0x2D):  # nop; GNU_window_save, which on aarch64 toggles the signing of x30
        return
    if code == 0x0C:
        row.register, row.offset = reader.uleb(), reader.uleb()
    elif code == 0x0D:
        row.register = reader.uleb()
    elif code == 0x0E:
        row.offset = reader.uleb()
    elif code == 5:
        register = reader.uleb()
        row.saved[register] = reader.uleb() * unwind.data_align
    elif code in (7, 8):
        row.saved.pop(reader.uleb(), None)
    elif code == 0x2E:  # GNU_args_size
        reader.uleb()
    elif code == 0x12:
        row.register, row.offset = reader.uleb(), reader.sleb() * unwind.data_align
    elif code == 0x13:
        row.offset = reader.sleb() * unwind.data_align
    else:
        raise ValueError(code)
