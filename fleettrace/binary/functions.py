"""Find where each function begins and ends, from the unwind table, which every distribution's binary has.

`.eh_frame` has one entry (FDE) for each contiguous piece of code: a function, or the cold part that a compiler split
off. Stripping a binary does not remove it. Format: Linux Standard Base 5.0, chapter 10.6.
"""

from __future__ import annotations

import bisect
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fleettrace.binary.elf import BinaryError, Elf, Machine
from fleettrace.binary.symbols import Symbol
from fleettrace.binary.uncovered import called_pieces
from fleettrace.binary.unwind import MAX_UNWIND, Cursor, Unwind

__all__ = ["Function", "Functions", "read_functions"]

MAX_ENTRIES = 1 << 17
"""Entries of `.eh_frame` that are read; a memcached with everything linked in has some 10,000."""

MAX_CIES = 1 << 12
"""Entries that FDEs share; one for each object file with `-static` at the most."""

MIN_HOOKED = 16
"""A function that at least so many functions call first is taken for the profiler."""
_ENDBR = b"\xf3\x0f\x1e\xfa"
_CALL = re.compile(rb"(?:\xe8|\xff\x15)(.{4})", re.DOTALL)
"""`call TARGET`, and `call [rip + POINTER]` as gcc has it in position-independent code."""

_PT_GNU_EH_FRAME = 0x6474E550
_SIZES = {0x0: "<Q", 0x2: "<H", 0x3: "<I", 0x4: "<Q", 0xA: "<h", 0xB: "<i", 0xC: "<q"}


@dataclass(frozen=True, slots=True)
class Function:
    """A contiguous piece of code at [start, end), virtual addresses, with the `name` of its symbol, if any.

    `hook` is the address of a first instruction that calls a profiler (`-mfentry`). The profiler changes no register
    that holds an argument.
    """

    start: int
    end: int
    name: str | None
    unwind: Unwind | None
    hook: int | None = None


class Functions:
    """The functions of a binary, by address."""

    def __init__(self, functions: Iterable[Function]) -> None:
        self._all = sorted({f.start: f for f in functions}.values(), key=lambda f: f.start)
        self._starts = [f.start for f in self._all]

    def __iter__(self) -> Iterator[Function]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def at(self, address: int) -> Function | None:
        """Return the function that contains `address`, or None."""
        index = bisect.bisect_right(self._starts, address) - 1
        return self._all[index] if index >= 0 and address < self._all[index].end else None

    def starting(self, address: int) -> Function | None:
        """Return the function that begins at `address`, or None."""
        found = self.at(address)
        return found if found is not None and found.start == address else None


def read_functions(elf: Elf, symbols: Iterable[Symbol] = ()) -> Functions:
    """Return the functions in `.eh_frame` and those with a symbol that has a size.

    Of a damaged table the entries before the damage are read. Where much code is in neither, the targets of calls there
    count as functions, too.
    """
    names: dict[int, str] = {}
    found: dict[int, Function] = {}
    for symbol in symbols:
        names.setdefault(symbol.address, symbol.name)
        if symbol.size and elf.is_code(symbol.address):
            found.setdefault(symbol.address, Function(symbol.address, symbol.address + symbol.size, symbol.name, None))
    for start, size, unwind in _entries(elf):
        if size > 0 and elf.is_code(start):
            found[start] = Function(start, start + size, names.get(start), unwind)
    for start, end in called_pieces(elf, [(function.start, function.end) for function in found.values()]):
        found.setdefault(start, Function(start, end, None, None))
    return Functions(_with_hooks(elf, found.values()))


def _with_hooks(elf: Elf, functions: Iterable[Function]) -> list[Function]:
    """Set `hook` for the call of __fentry__ that `-mfentry` puts at each function's entry.

    No other code calls a function there, because the stack is not aligned for it. So a function that many functions
    call first is the profiler.
    """
    every = list(functions)
    if elf.machine is not Machine.X86_64:
        return every
    called = {f.start: hook for f in every if (hook := _first_call(elf, f)) is not None}
    times = Counter(target for _, target in called.values())
    return [
        replace(f, hook=called[f.start][0]) if f.start in called and times[called[f.start][1]] >= MIN_HOOKED else f
        for f in every
    ]


def _first_call(elf: Elf, function: Function) -> tuple[int, int] | None:
    """Return the address of a function's first call, and its target: a function, or the address of a pointer."""
    elf.work.spend()
    code = elf.read(function.start, min(16, function.end - function.start))
    skipped = len(_ENDBR) if code.startswith(_ENDBR) else 0
    found = _CALL.match(code, skipped)
    if found is None:
        return None
    displacement = int.from_bytes(found[1], "little", signed=True)
    return function.start + skipped, function.start + found.end() + displacement


@dataclass(frozen=True, slots=True)
class _Cie:
    encoding: int
    augmented: bool
    code_align: int
    data_align: int
    initial: bytes


def _frame(elf: Elf) -> tuple[int, bytes] | None:
    """Return `.eh_frame` as (virtual address, bytes): the section, else the target of the segments' unwind header."""
    section = elf.section(".eh_frame")
    if section is not None:
        return section.address, elf.contents(section)
    for segment in elf.segments:
        if segment.kind == _PT_GNU_EH_FRAME:
            head = elf.read(segment.address, 8)
            if len(head) == 8 and head[0] == 1 and head[1] == 0x1B:
                address = segment.address + 4 + int.from_bytes(head[4:8], "little", signed=True)
                return address, elf.read(address, len(elf.data))
    return None


def _entries(elf: Elf) -> Iterator[tuple[int, int, Unwind]]:
    """Yield (start, size, unwind) of each FDE."""
    frame = _frame(elf)
    if frame is None:
        return
    address, data = frame
    cies: dict[int, _Cie | None] = {}
    position = 0
    for _ in range(MAX_ENTRIES):
        if position + 8 > len(data):
            return
        length, identity = struct.unpack_from("<II", data, position)
        end = position + 4 + length
        if length < 4 or length == 0xFFFFFFFF or end > len(data):
            return
        if identity:
            start = position + 4 - identity
            elf.work.spend(4)
            if start not in cies:
                if len(cies) >= MAX_CIES:
                    raise BinaryError(f"the unwind table has more than {MAX_CIES} common entries (CIE)")
                cies[start] = _cie(data, start)
            cie = cies[start]
            entry = None if cie is None else _fde(data, address, position + 8, end, cie)
            if entry is not None:
                yield entry
        position = end
    raise BinaryError(f"the unwind table has more than {MAX_ENTRIES} entries")


def _cie(data: bytes, start: int) -> _Cie | None:
    if start < 0 or start + 9 > len(data):
        return None
    length, identity = struct.unpack_from("<II", data, start)
    if identity != 0 or length > min(len(data) - start - 4, MAX_UNWIND):
        return None
    reader = Cursor(data, start + 8, start + 4 + length)
    try:
        reader.fixed("<B")
        text_end = data.index(b"\0", reader.position, reader.end)
        letters = data[reader.position : text_end]
        reader.position = text_end + 1
        code_align, data_align = reader.uleb(), reader.sleb()
        reader.uleb()
        encoding = 0
        if letters[:1] == b"z":
            body = reader.uleb() + reader.position
            encoding = _pointer_encoding(reader, letters[1:])
            reader.position = body
    except (struct.error, IndexError, ValueError):
        return None
    return _Cie(encoding, letters[:1] == b"z", code_align, data_align, reader.rest())


def _pointer_encoding(reader: Cursor, letters: bytes) -> int:
    """Return the encoding of addresses in the FDEs of this CIE (the letter R), skipping the letters before it."""
    for letter in letters:
        if letter == ord("R"):
            return reader.fixed("<B")
        if letter == ord("L"):
            reader.fixed("<B")
        elif letter == ord("P"):
            reader.fixed(_SIZES.get(reader.fixed("<B") & 15, "<Q"))
    return 0


def _fde(data: bytes, base: int, position: int, end: int, cie: _Cie) -> tuple[int, int, Unwind] | None:
    layout = _SIZES.get(cie.encoding & 15)
    relative = cie.encoding & 0x70
    if layout is None or relative not in (0, 0x10):
        return None
    reader = Cursor(data, position, end)
    try:
        start = reader.fixed(layout) + (base + position if relative else 0)
        size = reader.fixed(layout)
        if cie.augmented:
            reader.position += reader.uleb()
    except (struct.error, IndexError):
        return None
    return start, size, Unwind(cie.code_align, cie.data_align, cie.initial, reader.rest()[:MAX_UNWIND])
