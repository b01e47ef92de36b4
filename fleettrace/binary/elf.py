"""A bounded reader of ELF files: header, segments, sections, build id, and where in the file an address lies.

It reads the few structures the tool needs, straight from the bytes. Counts and sizes are checked against the file
before anything is read, so a hostile file costs at most a moment and ends in `BinaryError`.
Field layouts: elf(5) and the System V ABI; 64-bit little-endian only, which x86-64 and aarch64 are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from fleettrace.binary.work import BinaryError, Work

__all__ = [
    "BinaryError",
    "Elf",
    "Machine",
    "Section",
    "Segment",
    "build_id",
    "debug_link",
    "memcached_version",
    "parse",
]

MAX_FILE = 256 << 20
"""Bytes of the largest file that is read. The largest memcached seen (LTO, static, with debug data) has 10 MB."""
MAX_SECTIONS = 512
"""The most sections of a file that is read; builds of memcached have up to 43."""
MAX_SEGMENTS = 64
"""The most segments of a file that is read; builds of memcached have up to 14."""
MAX_CODE = 16 << 20
"""Bytes of code in a file that is read; builds of memcached have up to 2 MiB, with OpenSSL in them some 8 MiB."""
MAX_SECTION_NAMES = 1 << 20
MAX_SECTION_NAME = 256
"""Bytes of all section names, and of one."""
MAX_NOTES = 1 << 16
"""Bytes of one place of notes that are searched for the build id; real ones have some 100."""
MAX_BUILD_ID = 64
"""Bytes of the longest build id (a SHA-1 has 20; `--build-id=0x...` can be anything)."""

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_NT_GNU_BUILD_ID = 3
_PN_XNUM = 0xFFFF
_VERSION = re.compile(rb"(?:\0VERSION |\0memcached )(\d+\.\d+\.\d+[0-9A-Za-z._+-]{0,40})\r?\n?(?=\0)")

PT_LOAD = 1
PT_NOTE = 4
PF_X = 1
SHT_NOBITS = 8
SHT_NOTE = 7


class Machine(StrEnum):
    """The processors whose code is understood."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"


_MACHINES = {62: Machine.X86_64, 183: Machine.AARCH64}


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header. Sizes and offsets in bytes, `address` the virtual address the file asks for."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section header, its name resolved ("" where the name is broken)."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """A parsed file. `kind` is e_type: 2 for a fixed-address executable, 3 for a position-independent one."""

    data: bytes
    machine: Machine
    kind: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    work: Work = field(default_factory=Work, repr=False, compare=False)
    """What the analysis of this file has taken."""

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)

    def contents(self, section: Section) -> bytes:
        """The bytes of `section`, cut at the file's end; none for one that occupies no file space."""
        return b"" if section.kind == SHT_NOBITS else self.data[section.offset : section.offset + section.size]

    def offset_of(self, address: int) -> int | None:
        """The file offset that is loaded at virtual `address`, or None."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        return None

    def read(self, address: int, size: int) -> bytes:
        """At most `size` bytes of what is loaded at `address`; fewer at a segment's end, none outside."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                start = address - segment.address
                return self.data[segment.offset + start : segment.offset + min(start + size, segment.file_size)]
        return b""

    def code(self) -> Iterator[tuple[int, bytes]]:
        """Each executable segment as (virtual address, bytes)."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.flags & PF_X:
                yield segment.address, self.data[segment.offset : segment.offset + segment.file_size]

    def is_code(self, address: int) -> bool:
        """Whether `address` lies in an executable segment's file-backed part."""
        return any(
            segment.kind == PT_LOAD
            and segment.flags & PF_X
            and segment.address <= address < segment.address + segment.file_size
            for segment in self.segments
        )


def parse(data: bytes) -> Elf:
    """Parse a whole file.

    Raises:
        BinaryError: not ELF, not a 64-bit little-endian x86-64 or aarch64 file, cut short, or larger than the bounds.
    """
    header = _header(data)
    if header.machine not in _MACHINES:
        raise BinaryError(
            f"the binary is for ELF machine {header.machine}; only x86-64 (62) and aarch64 (183) are understood"
        )
    if header.kind not in (2, 3):
        raise BinaryError(f"the ELF file is of type {header.kind}, not an executable (2 or 3)")
    segments = tuple(_segments(data, header))
    _check_loaded(len(data), segments)
    return Elf(data, _MACHINES[header.machine], header.kind, segments, _sections(data, header))


def build_id(elf: Elf) -> str | None:
    """The GNU build id in lower-case hex, or None when the file has none."""
    places = [(s.offset, s.file_size) for s in elf.segments if s.kind == PT_NOTE]
    places += [(s.offset, s.size) for s in elf.sections if s.kind == SHT_NOTE]
    return _first_build_id(elf.data, places)


def memcached_version(elf: Elf) -> str | None:
    """The version a memcached says of itself, such as "1.6.18"; None when the file says none or several.

    Two strings carry it in every version from 1.4 on: the answer to the `version` command ("VERSION 1.6.18") and the
    head of the usage text ("memcached 1.6.18").
    """
    found: set[bytes] = set()
    for section in elf.sections:
        if section.name.startswith(".rodata"):
            elf.work.spend(section.size >> 8)
            found.update(_VERSION.findall(b"\0" + elf.contents(section)))
    if not elf.sections:
        for segment in elf.segments:
            if segment.kind == PT_LOAD and not segment.flags & 2:
                found.update(_VERSION.findall(elf.data, segment.offset, segment.offset + segment.file_size))
    return found.pop().decode("ascii") if len(found) == 1 else None


def debug_link(elf: Elf) -> str | None:
    """The file name in `.gnu_debuglink`, or None. The name is the file's to choose: quote it before any use."""
    section = elf.section(".gnu_debuglink")
    if section is None:
        return None
    name, _, rest = elf.contents(section)[:4096].partition(b"\0")
    return name.decode("utf-8", "surrogateescape") if name and rest else None


class _Header(NamedTuple):
    ident: bytes
    kind: int
    machine: int
    version: int
    entry: int
    segment_offset: int
    section_offset: int
    flags: int
    header_size: int
    segment_size: int
    segment_count: int
    section_size: int
    section_count: int
    names_index: int


def _header(data: bytes) -> _Header:
    if len(data) > MAX_FILE:
        raise BinaryError(f"the binary has {len(data)} bytes; more than {MAX_FILE} are not read")
    if data[:4] != b"\x7fELF":
        raise BinaryError("the file is no ELF file")
    if len(data) < _EHDR.size:
        raise BinaryError(f"the ELF file is cut short at {len(data)} bytes, inside its header")
    if data[4:6] != b"\x02\x01":
        raise BinaryError("the ELF file is not 64-bit little-endian")
    return _Header._make(_EHDR.unpack_from(data))


def _segments(data: bytes, header: _Header) -> Iterator[Segment]:
    count = header.segment_count
    if count in (0, _PN_XNUM) or count > MAX_SEGMENTS or header.segment_size != _PHDR.size:
        raise BinaryError(f"the ELF file claims {count} program headers of {header.segment_size} bytes")
    if header.segment_offset + count * _PHDR.size > len(data):
        raise BinaryError(f"the ELF file is cut short at {len(data)} bytes, inside its program headers")
    for index in range(count):
        kind, flags, offset, address, _, file_size, memory_size, _ = _PHDR.unpack_from(
            data, header.segment_offset + index * _PHDR.size
        )
        yield Segment(kind, flags, offset, address, file_size, memory_size)


def _check_loaded(size: int, segments: tuple[Segment, ...]) -> None:
    """Raise `BinaryError` where segments that lie over each other make a file larger than it is, or hold much code."""
    loaded = [
        (each.flags, min(each.file_size, max(0, size - each.offset))) for each in segments if each.kind == PT_LOAD
    ]
    if sum(held for _, held in loaded) > 2 * size:
        raise BinaryError("the segments of the ELF file lie over each other")
    code = sum(held for flags, held in loaded if flags & PF_X)
    if code > MAX_CODE:
        raise BinaryError(f"the binary has {code} bytes of code; more than {MAX_CODE} are not read")


def _sections(data: bytes, header: _Header) -> tuple[Section, ...]:
    """The section headers; none when the file has none (a program runs without them)."""
    count = header.section_count
    if header.section_offset == 0 or count == 0:
        return ()
    if count > MAX_SECTIONS or header.section_size != _SHDR.size:
        raise BinaryError(f"the ELF file claims {count} section headers of {header.section_size} bytes")
    if header.section_offset + count * _SHDR.size > len(data):
        raise BinaryError(f"the ELF file is cut short at {len(data)} bytes, inside its section headers")
    raw = [_SHDR.unpack_from(data, header.section_offset + index * _SHDR.size) for index in range(count)]
    names = b""
    if header.names_index < count:
        _, _, _, _, offset, size, *_ = raw[header.names_index]
        names = data[offset : offset + min(size, MAX_SECTION_NAMES)]
    return tuple(
        Section(_name(names, name), kind, flags, address, offset, size, link, entry_size)
        for name, kind, flags, address, offset, size, link, _, _, entry_size in raw
    )


def _name(table: bytes, start: int) -> str:
    end = table.find(b"\0", start, start + MAX_SECTION_NAME)
    return table[start:end].decode("ascii", "replace") if end > start else ""


def _first_build_id(data: bytes, places: list[tuple[int, int]]) -> str | None:
    for offset, size in places:
        found = _build_id_in(data[offset : offset + min(size, MAX_NOTES)])
        if found is not None:
            return found
    return None


def _build_id_in(notes: bytes) -> str | None:
    position = 0
    while position + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, position)
        start = position + _NOTE.size
        body = start + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[start : start + name_size] == b"GNU\0":
            return notes[body : body + size].hex() if 0 < size <= MAX_BUILD_ID and body + size <= len(notes) else None
        position = body + (size + 3 & ~3)
    return None
