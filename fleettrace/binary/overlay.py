"""Build a symbol overlay: a small synthetic ELF file that names instructions of a binary.

bpftrace resolves names through libbcc, which reads `$BCC_SYMFS/PATH` instead of PATH for symbols when the build ids are
equal or the binary has none (bcc, src/cc/bcc_syms.cc, and find_debug_via_symfs in bcc_elf.c). A file of some 700 bytes
at `$BCC_SYMFS/proc/PID/exe`, with the binary's build id and one symbol for each instruction, makes
`uprobe:/proc/PID/exe:NAME` attach exactly there. It also works inside a named function, where some versions refuse an
address or `name+offset`. Tested with bpftrace 0.17, 0.23 and 0.27.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from fleettrace.binary.cheapest import Instruction
from fleettrace.binary.elf import BinaryError, Machine

__all__ = ["SYMBOL_SIZE", "overlay"]

SYMBOL_SIZE = 4
"""Bytes that each symbol covers: enough for a function, too few to reach the next probed instruction."""

_PAGE = 0x1000
_MACHINES = {Machine.X86_64: 62, Machine.AARCH64: 183}
_NAMES = b"\0.note.gnu.build-id\0.text\0.symtab\0.strtab\0.shstrtab\0"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def overlay(build_id: str | None, machine: Machine, names: Mapping[str, Instruction]) -> bytes:
    """Return an ELF file with build id `build_id` (hex; None: without one) that has each of `names` as a function.

    Raises `BinaryError` for no names or a name that is not a C identifier, for a build id that is not hex, for an
    instruction with an unknown file offset, and for instructions of different segments.
    """
    if not names or not all(_NAME.fullmatch(name) for name in names):
        raise BinaryError(f"an overlay needs names that are C identifiers, not {sorted(names)!r}")
    if any(instruction.file_offset < 0 for instruction in names.values()):
        raise BinaryError("the file offset of an instruction of the overlay is not known")
    shifts = {instruction.address - instruction.file_offset for instruction in names.values()}
    if len(shifts) != 1:
        raise BinaryError("the instructions of one overlay must lie in one segment of the binary")
    note = b"" if build_id is None else _note(build_id)
    start = min(instruction.address for instruction in names.values()) & -_PAGE
    end = max(instruction.address for instruction in names.values()) + _PAGE & -_PAGE
    strings, symbols = b"\0", b"\0" * 24
    for name, instruction in sorted(names.items()):
        symbols += struct.pack("<IBBHQQ", len(strings), 0x12, 0, 2, instruction.address, SYMBOL_SIZE)
        strings += name.encode() + b"\0"
    return _assemble(machine, note, (start, start - shifts.pop(), end - start), symbols, strings)


def _note(build_id: str) -> bytes:
    try:
        identity = bytes.fromhex(build_id)
    except ValueError:
        raise BinaryError(f"{build_id!r} is no build id in hex") from None
    return struct.pack("<III4s", 4, len(identity), 3, b"GNU\0") + identity + b"\0" * (-len(identity) % 4)


def _assemble(machine: Machine, note: bytes, text: tuple[int, int, int], symbols: bytes, strings: bytes) -> bytes:
    """Return the file: header, one program header for the text, section headers, contents."""
    address, file_offset, size = text
    body = 64 + 56 + 6 * 64
    note_at = body
    symbols_at = note_at + (len(note) + 7 & ~7)
    strings_at = symbols_at + len(symbols)
    names_at = strings_at + len(strings)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(3, _MACHINES[machine], 1, 0, 64, 64 + 56, 0, 64, 56, 1, 64, 6, 5),
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, file_offset, address, address, size, size, _PAGE)
    sections = b"".join(
        struct.pack("<IIQQQQIIQQ", 0 if not name else _NAMES.index(name + b"\0"), *fields)
        for name, *fields in (
            (b"", 0, 0, 0, 0, 0, 0, 0, 0, 0),
            (b".note.gnu.build-id", 7, 2, 0, note_at, len(note), 0, 0, 4, 0),
            (b".text", 8, 6, address, file_offset, size, 0, 0, 16, 0),
            (b".symtab", 2, 0, 0, symbols_at, len(symbols), 4, 1, 8, 24),
            (b".strtab", 3, 0, 0, strings_at, len(strings), 0, 0, 1, 0),
            (b".shstrtab", 3, 0, 0, names_at, len(_NAMES), 0, 0, 1, 0),
        )
    )
    return header + load + sections + note.ljust(symbols_at - note_at, b"\0") + symbols + strings + _NAMES
