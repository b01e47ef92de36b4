"""Read ELF files within bounds: header, segments, sections, build id, and the file offset of an address.

The reader takes the few structures that fleettrace needs straight from the bytes. It checks counts and sizes against
the file before it reads, so a hostile file costs little time and ends in `BinaryError`.
Field layouts: elf(5) and the System V ABI; 64-bit little-endian only, which x86-64 and aarch64 are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
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
    "code_headers",
    "code_offset",
    "code_segments",
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
MAX_CODE_SEGMENTS = 64
"""Executable segments that `code_headers` describes; linkers make one."""
MAX_SECTION_NAMES = 1 << 20
MAX_SECTION_NAME = 256
"""Bytes of all section names, and of one."""
MAX_NOTES = 1 << 16
"""Bytes of one note segment or section that are searched for the build id; real ones have some 100."""
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
    """The supported processors."""

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
        """Return the first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)

    def contents(self, section: Section) -> bytes:
        """Return the bytes of `section`, cut at the file's end; empty for one that occupies no file space."""
        return b"" if section.kind == SHT_NOBITS else self.data[section.offset : section.offset + section.size]

    def offset_of(self, address: int) -> int | None:
        """Return the file offset that is loaded at virtual `address`, or None."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        return None

    def read(self, address: int, size: int) -> bytes:
        """Return at most `size` bytes that are loaded at `address`; fewer at a segment's end, none outside."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                start = address - segment.address
                return self.data[segment.offset + start : segment.offset + min(start + size, segment.file_size)]
        return b""

    def code(self) -> Iterator[tuple[int, bytes]]:
        """Yield each executable segment as (virtual address, bytes)."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.flags & PF_X:
                yield segment.address, self.data[segment.offset : segment.offset + segment.file_size]

    def is_code(self, address: int) -> bool:
        """Return whether `address` lies in an executable segment's file-backed part."""
        return any(
            segment.kind == PT_LOAD
            and segment.flags & PF_X
            and segment.address <= address < segment.address + segment.file_size
            for segment in self.segments
        )


def parse(data: bytes) -> Elf:
    """Parse a complete file.

    Raises `BinaryError` for a file that is not a 64-bit little-endian ELF file for x86-64 or aarch64, that is cut
    short, or that exceeds the bounds.
    """
    header = _header(data)
    if header.machine not in _MACHINES:
        raise BinaryError(
            f"the binary is for ELF machine {header.machine}; only x86-64 (62) and aarch64 (183) are supported"
        )
    if header.kind not in (2, 3):
        raise BinaryError(f"the ELF file is of type {header.kind}, not an executable (2 or 3)")
    segments = tuple(_segments(data, header))
    _check_loaded(len(data), segments)
    return Elf(data, _MACHINES[header.machine], header.kind, segments, _sections(data, header))


def build_id(elf: Elf) -> str | None:
    """Return the GNU build id in lower-case hex, or None for a file without one."""
    ranges = [(s.offset, s.file_size) for s in elf.segments if s.kind == PT_NOTE]
    ranges += [(s.offset, s.size) for s in elf.sections if s.kind == SHT_NOTE]
    return _first_build_id(elf.data, ranges)


def memcached_version(elf: Elf) -> str | None:
    """Return memcached's version, such as "1.6.18"; None where the file contains none or several.

    Every version from 1.4 on has two strings with it: the answer to the `version` command ("VERSION 1.6.18") and the
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
    """Return the file name in `.gnu_debuglink`, or None. The file chooses this name: quote it before any use."""
    section = elf.section(".gnu_debuglink")
    if section is None:
        return None
    name, _, rest = elf.contents(section)[:4096].partition(b"\0")
    return name.decode("utf-8", "surrogateescape") if name and rest else None


def code_headers(elf: Elf) -> tuple[tuple[int, str], ...]:
    """Return the ELF header and the program header of each executable segment, at most `MAX_CODE_SEGMENTS` of them, as
    (file offset, hex). They decide which file offset bpftrace puts a probe at, given a virtual address."""
    header = _header(elf.data)
    found = [(0, _EHDR.size)]
    for index, segment in enumerate(elf.segments):
        if segment.kind == PT_LOAD and segment.flags & PF_X and len(found) <= MAX_CODE_SEGMENTS:
            found.append((header.segment_offset + index * _PHDR.size, _PHDR.size))
    return tuple((offset, elf.data[offset : offset + size].hex()) for offset, size in found)


def code_segments(headers: tuple[tuple[int, str], ...]) -> tuple[Segment, ...]:
    """Return the executable segments that `code_headers` describe. Raises `BinaryError` where they contradict the ELF
    header among them, and `ValueError` where one is no hex."""
    if not headers or headers[0][0] != 0:
        raise BinaryError("the ELF header is missing")
    header = _header(bytes.fromhex(headers[0][1]))
    places = range(header.segment_offset, header.segment_offset + header.segment_count * _PHDR.size, _PHDR.size)
    segments = []
    for offset, code in headers[1:]:
        data = bytes.fromhex(code)
        if offset not in places or len(data) != _PHDR.size:
            raise BinaryError(f"no program header is at {offset}")
        [segment] = _segments(data, header._replace(segment_offset=0, segment_count=1))
        if segment.kind != PT_LOAD or not segment.flags & PF_X:
            raise BinaryError(f"the program header at {offset} is not that of an executable segment")
        segments.append(segment)
    return tuple(segments)


def code_offset(segments: Iterable[Segment], address: int) -> int | None:
    """Return the file offset of a virtual address, given the executable segments; None outside of them."""
    return next((address - s.address + s.offset for s in segments if 0 <= address - s.address < s.file_size), None)


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
        raise BinaryError("the file is not an ELF file")
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
        kind, flags, offset, address, _, file_size, _, _ = _PHDR.unpack_from(
            data, header.segment_offset + index * _PHDR.size
        )
        yield Segment(kind, flags, offset, address, file_size)


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
    """Return the section headers; empty for a file without them (a program runs without them)."""
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


def _first_build_id(data: bytes, ranges: list[tuple[int, int]]) -> str | None:
    for offset, size in ranges:
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
