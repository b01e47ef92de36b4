"""Find the references in a binary's code: which function calls or jumps to which, and which uses a string.

The code is not disassembled but scanned for the few encodings that compilers use for these: a call with a 32-bit
displacement, a `lea` relative to the instruction pointer, `adrp` with `add`. This keeps a 10 MB binary under a second.
A match counts only if its target is the start of a function or exactly the string, which excludes matches by chance.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fleettrace.binary.elf import PT_LOAD, Elf, Machine
from fleettrace.binary.functions import Function, Functions
from fleettrace.binary.work import Work

__all__ = ["MAX_INSIDE", "Reference", "ReferenceKind", "References", "string_addresses"]

MAX_INSIDE = 64
"""The most jumps into the middle of one function that are kept."""
MAX_STRING_HITS = 64
"""The most copies of one string; real binaries have one or two."""


class ReferenceKind(StrEnum):
    """How an instruction refers to code."""

    CALL = "call"
    JUMP = "jump"


@dataclass(frozen=True, slots=True)
class Reference:
    """A call or jump at `address`, `size` bytes long, to `target`; virtual addresses."""

    address: int
    size: int
    target: int
    kind: ReferenceKind


class References:
    """The calls and jumps between the functions of one binary."""

    def __init__(self, elf: Elf, functions: Functions) -> None:
        self.elf = elf
        self.functions = functions
        self._to: dict[int, list[Reference]] = defaultdict(list)
        self._into: dict[int, set[int]] = defaultdict(set)
        self._from: dict[int, list[Reference]] = defaultdict(list)
        self._inside: dict[int, list[Reference]] = defaultdict(list)
        self._called: set[int] = set()
        scan = _branches_x86 if elf.machine is Machine.X86_64 else _branches_arm
        for base, code in elf.code():
            for reference in scan(base, code, elf.work):
                self._add(reference)

    def _add(self, reference: Reference) -> None:
        target = self.functions.at(reference.target)
        if target is None:
            return
        source = self.functions.at(reference.address)
        if source is None or (source is target and reference.target != target.start):
            return
        if reference.target == target.start:
            self._to[target.start].append(reference)
            self._from[source.start].append(reference)
            if reference.kind is ReferenceKind.CALL:
                self._called.add(target.start)
        if reference.kind is ReferenceKind.JUMP and source is not target:
            self._into[target.start].add(source.start)
        if source is not target and reference.target != target.start and len(self.inside(target.start)) < MAX_INSIDE:
            self._inside[target.start].append(reference)

    def to(self, start: int) -> list[Reference]:
        """Return the calls of, and jumps to, the function at `start`."""
        return self._to.get(start, [])

    def inside(self, start: int) -> list[Reference]:
        """Return the calls and jumps from other functions that lead behind the beginning of the one at `start`.

        There may be more if these are MAX_INSIDE. Most are other instructions that resemble a jump.
        """
        return self._inside.get(start, [])

    def leaving(self, start: int) -> list[Reference]:
        """Return the calls and jumps from the function at `start` to the beginning of functions."""
        return self._from.get(start, [])

    def callees(self, start: int) -> set[int]:
        """Return the addresses of the functions that the one at `start`, or a cold part of it, calls or jumps to."""
        self.elf.work.spend(len(self._into) + len(self.leaving(start)))
        parts = [start, *(part for part, sources in self._into.items() if self.owner_of(part) == start)]
        return {reference.target for part in parts for reference in self.leaving(part)} - set(parts)

    def owner_of(self, start: int) -> int:
        """Return the function to which the split-off part at `start` belongs, or `start` for a function of its own.

        No instruction calls a part, and only one function jumps into it.
        """
        if start in self._called:
            return start
        function = self.functions.starting(start)
        name = None if function is None else function.name
        sources = self._into.get(start, set())
        if len(sources) != 1 or (name is not None and ".cold" not in name and ".part" not in name):
            return start
        back = self._into.get(next(iter(sources)), set())
        return next(iter(sources)) if start in back or (name or "").endswith(".cold") else start

    def users(self, texts: Collection[bytes]) -> dict[bytes, set[int]]:
        """Return, for each C string, the addresses of the functions that take its address."""
        strings = {address: text for text in texts for address in string_addresses(self.elf, text)}
        scan = _addresses_x86 if self.elf.machine is Machine.X86_64 else _addresses_arm
        found: dict[bytes, set[int]] = {text: set() for text in texts}
        for base, code in self.elf.code():
            for position, address in scan(base, code, set(strings), self.functions, self.elf.work):
                function = self.functions.at(position)
                if address in strings and function is not None:
                    found[strings[address]].add(self.owner_of(function.start))
        return found


def string_addresses(elf: Elf, text: bytes) -> list[int]:
    """Return the virtual addresses of `text` at the end of a C string; a linker shares equal ends."""
    found: list[int] = []
    for segment in elf.segments:
        if segment.kind != PT_LOAD:
            continue
        position, end = segment.offset, segment.offset + segment.file_size
        elf.work.spend(segment.file_size >> 10)
        while len(found) < MAX_STRING_HITS:
            position = elf.data.find(text + b"\0", position, end)
            if position < 0:
                break
            found.append(segment.address + position - segment.offset)
            position += 1
    return found


_BRANCH_X86 = re.compile(rb"(?:(\xe8)|\xe9|\x0f[\x80-\x8f])(?=(.{4}))", re.DOTALL)
_LEA_X86 = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](?=(.{4}))", re.DOTALL)
_MOV_X86 = re.compile(rb"[\xb8-\xbf](?=(.{4}))", re.DOTALL)


def _branches_x86(base: int, code: bytes, work: Work) -> Iterator[Reference]:
    end = base + len(code)
    for match in _BRANCH_X86.finditer(code):
        work.spend()
        after = base + match.end() + 4
        target = after + int.from_bytes(match[2], "little", signed=True)
        if base <= target < end:
            position = base + match.start()
            work.spend(2)
            yield Reference(position, after - position, target, ReferenceKind.CALL if match[1] else ReferenceKind.JUMP)


def _branches_arm(base: int, code: bytes, work: Work) -> Iterator[Reference]:
    work.spend(len(code) >> 5)
    for index, word in enumerate(_words(code)):
        top = word >> 26
        if top == 0b100101 or top == 0b000101:
            distance = 4 * ((word & 0x3FFFFFF ^ 0x2000000) - 0x2000000)
        elif word & 0xFF000010 == 0x54000000:
            distance = 4 * ((word >> 5 & 0x7FFFF ^ 0x40000) - 0x40000)
        else:
            continue
        position = base + 4 * index
        work.spend(3)
        yield Reference(position, 4, position + distance, ReferenceKind.CALL if top == 0b100101 else ReferenceKind.JUMP)


def _addresses_x86(base: int, code: bytes, targets: set[int], _: Functions, work: Work) -> Iterator[tuple[int, int]]:
    for match in _LEA_X86.finditer(code):
        work.spend()
        address = base + match.end() + 4 + int.from_bytes(match[1], "little", signed=True)
        if address in targets:
            yield base + match.start(), address
    if all(address < 1 << 31 for address in targets):
        for match in _MOV_X86.finditer(code):
            work.spend()
            address = int.from_bytes(match[1], "little")
            if address in targets:
                yield base + match.start(), address


def _addresses_arm(
    base: int, code: bytes, targets: set[int], functions: Functions, work: Work
) -> Iterator[tuple[int, int]]:
    """Yield each pair of `adrp register, page` and a later `add other, register, offset` of the same function."""
    work.spend(len(code) >> 4)
    pages: dict[int, tuple[int, Function | None]] = {}
    text_pages = {address & ~0xFFF for address in targets}
    for index, word in enumerate(_words(code)):
        position = base + 4 * index
        if word & 0x9F000000 == 0x90000000:
            immediate = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
            page = (position & ~0xFFF) + (((immediate ^ 0x100000) - 0x100000) << 12)
            if page in text_pages:
                pages[word & 31] = (page, functions.at(position))
            else:
                pages.pop(word & 31, None)
        elif word & 0xFFC00000 == 0x91000000 and (word >> 5 & 31) in pages:
            page, function = pages[word >> 5 & 31]
            if function is not None and function.start <= position < function.end:
                yield position, page + (word >> 10 & 0xFFF)


def _words(code: bytes) -> tuple[int, ...]:
    return struct.unpack_from(f"<{len(code) // 4}I", code)
