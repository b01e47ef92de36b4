"""Read the function symbols of a binary, from its tables and from its debug file.

There are four sources, read in this order: `.symtab`, `.dynsym` (official images export everything from 1.6.38 on),
`.gnu_debugdata` (Fedora's xz-packed mini symbol table), and a separate debug file with the same build id.

A compiler may split or clone a function and marks that by a suffix of the name. Only some of these forms keep the
arguments where the source has them: `symbol_form` distinguishes them.
"""

from __future__ import annotations

import lzma
import re
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from fleettrace.binary.elf import BinaryError, Elf, build_id, parse

__all__ = ["Symbol", "SymbolForm", "SymbolSource", "base_name", "covered", "function_symbols", "named", "symbol_form"]

MAX_SYMBOLS = 1 << 17
"""Entries of one symbol table that are read; a memcached with everything linked in has some 20,000."""
MAX_NAME = 512
"""Bytes of the longest symbol name that is read."""
MAX_DEBUGDATA = 16 << 20
"""Bytes that `.gnu_debugdata` may unpack to (xz packs zeros 7,000 to one)."""

_SYM = struct.Struct("<IBBHQQ")
_STT_FUNC = 2
_SHN_UNDEF = 0
_SHT_SYMTAB = 2
_SHT_DYNSYM = 11


class SymbolSource(StrEnum):
    """Where a symbol was found."""

    SYMTAB = "symtab"
    DYNSYM = "dynsym"
    DEBUGDATA = "debugdata"
    DEBUG_FILE = "debug-file"


class SymbolForm(StrEnum):
    """The form of a function, by the compiler's suffix."""

    ORIGINAL = "original"
    """The function itself, possibly renamed: arguments as in the source."""
    CLONE = "clone"
    """A specialised copy (`.constprop`, `.isra`): arguments may be dropped, moved or passed by value."""
    PART = "part"
    """Some of its instructions (`.part`, `.cold`): not entered on every call."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """One defined function: its virtual `address` and its `size` in bytes (0 where the table does not say)."""

    name: str
    address: int
    size: int
    origin: SymbolSource


_RENAMED = re.compile(r"\.(?:lto_priv|localalias|llvm|__uniq)(?:\.\d+)?|@.*$")
_PARTIAL = re.compile(r"\.(?:part|cold)(?:\.\d+)?")


def base_name(name: str) -> str:
    """Return the name in the source: the part before the first dot or version sign."""
    return re.split(r"[.@]", name, maxsplit=1)[0]


def symbol_form(name: str) -> SymbolForm:
    """Return the form of the function by the suffixes of `name`. An unknown suffix counts as a clone.

    GCC's suffixes come from its gcc/ directory (ipa-cp.cc, ipa-sra.cc, ipa-split.cc, lto-partition.cc, bb-reorder.cc);
    `.llvm.` and `.__uniq.` are Clang's.
    """
    rest = name[len(base_name(name)) :]
    if _PARTIAL.search(rest):
        return SymbolForm.PART
    return SymbolForm.ORIGINAL if not _RENAMED.sub("", rest) else SymbolForm.CLONE


def function_symbols(elf: Elf, debug: bytes | None = None) -> tuple[Symbol, ...]:
    """Return every defined function symbol, in order of address; the first source with an (address, name) wins.

    `debug` is a separate debug file; it must carry the binary's build id.
    Raises `BinaryError` for a debug file of another binary, and for a symbol table above the bounds.
    """
    found: dict[tuple[int, str], Symbol] = {}
    for symbol in _all(elf, debug):
        found.setdefault((symbol.address, symbol.name), symbol)
    return tuple(sorted(found.values(), key=lambda symbol: (symbol.address, symbol.name)))


def named(symbols: Iterable[Symbol], name: str) -> tuple[Symbol, ...]:
    """Return the symbols of the function `name` in the source and of its clones, without its split-off parts."""
    matching = (s for s in symbols if s.name.startswith(name) and base_name(s.name) == name)
    order = {SymbolForm.ORIGINAL: 0, SymbolForm.CLONE: 1}
    suitable = [s for s in matching if symbol_form(s.name) in order]
    return tuple(sorted(suitable, key=lambda s: (order[symbol_form(s.name)], s.address)))


def _all(elf: Elf, debug: bytes | None) -> Iterator[Symbol]:
    yield from _table(elf, _SHT_SYMTAB, SymbolSource.SYMTAB)
    yield from _table(elf, _SHT_DYNSYM, SymbolSource.DYNSYM)
    yield from _debugdata(elf)
    if debug is not None:
        other = parse(debug)
        if build_id(elf) is None or build_id(other) != build_id(elf):
            raise BinaryError(
                f"the debug file is for build id {build_id(other)}, the binary has {build_id(elf)}: they do not match"
            )
        yield from _table(other, _SHT_SYMTAB, SymbolSource.DEBUG_FILE)


def covered(elf: Elf, numbers: Iterable[int]) -> tuple[int, ...]:
    """Return those of `numbers`, sorted, that as virtual addresses lie in a symbol of any kind.

    bpftrace takes a bare number for a virtual address if a symbol covers it, and for a file offset if none does (0.11
    to 0.26, attached_probe.cpp: resolve_offset_uprobe and sym_address_cb).
    """
    tables = [(elf, _SHT_SYMTAB), (elf, _SHT_DYNSYM)]
    if (packed := _packed(elf)) is not None:
        tables.append((packed, _SHT_SYMTAB))
    found: set[int] = set()
    remaining = sorted(set(numbers))
    for each, kind in tables:
        for *_, address, size in _rows(each, kind):
            first, last = bisect_left(remaining, address), bisect_left(remaining, address + size)
            if address and first < last:
                found.update(remaining[first:last])
                del remaining[first:last]
    return tuple(sorted(found))


def _packed(elf: Elf) -> Elf | None:
    """Return the file with the mini symbol table; None also for a damaged one, because the table is optional."""
    section = elf.section(".gnu_debugdata")
    if section is None:
        return None
    try:
        unpacker = lzma.LZMADecompressor(memlimit=MAX_DEBUGDATA)
        inner = unpacker.decompress(elf.contents(section), max_length=MAX_DEBUGDATA)
        return replace(parse(inner), work=elf.work) if unpacker.eof else None
    except (lzma.LZMAError, BinaryError):
        return None


def _debugdata(elf: Elf) -> Iterator[Symbol]:
    if (packed := _packed(elf)) is not None:
        yield from _table(packed, _SHT_SYMTAB, SymbolSource.DEBUGDATA)


def _table(elf: Elf, kind: int, origin: SymbolSource) -> Iterator[Symbol]:
    for names, name, info, section, address, size in _rows(elf, kind):
        if info & 15 != _STT_FUNC or section == _SHN_UNDEF or address == 0:
            continue
        end = names.find(b"\0", name, name + MAX_NAME)
        if end > name:
            elf.work.spend(8)
            yield Symbol(names[name:end].decode("utf-8", "replace"), address, size, origin)


def _rows(elf: Elf, kind: int) -> Iterator[tuple[bytes, int, int, int, int, int]]:
    """Yield every row of the tables of this kind: the string table, and name, info, section, address and size."""
    for table in elf.sections:
        if table.kind != kind or table.entry_size != _SYM.size or table.link >= len(elf.sections):
            continue
        names, raw = elf.contents(elf.sections[table.link]), elf.contents(table)
        count = len(raw) // _SYM.size
        if count > MAX_SYMBOLS:
            raise BinaryError(
                f"the symbol table {table.name!r} has {count} entries; more than {MAX_SYMBOLS} are not read"
            )
        elf.work.spend(count)
        for name, info, _, section, address, size in _SYM.iter_unpack(raw[: count * _SYM.size]):
            yield names, name, info, section, address, size
