"""Generate a static ELF program of a few hundred bytes that sleeps forever and has functions with given names.

It replaces memcached where only the verifier is tested, without a compiler for the guest's architecture.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = ["target"]

_BASE = 0x400000
_CODE = {
    # (ELF machine, endless loop of pause(2) or ppoll(2), a function: push rbp; pop rbp; ret | stp; ldp; ret)
    "amd64": (62, bytes.fromhex("b8220000000f05ebf7"), bytes.fromhex("555dc390")),
    "arm64": (
        183,
        struct.pack(
            "<7I",
            0xD2800000,  # mov x0, #0
            0xD2800001,  # mov x1, #0
            0xD2800002,  # mov x2, #0
            0xD2800003,  # mov x3, #0
            0xD2800928,  # mov x8, #73 (ppoll)
            0xD4000001,  # svc #0
            0x17FFFFFA,  # b to the first
        ),
        struct.pack("<3I", 0xA9BF7BFD, 0xA8C17BFD, 0xD65F03C0),
    ),
}
_HEADER, _PROGRAM, _SECTION, _SYMBOL = 64, 56, 64, 24


def target(arch: str, functions: Sequence[str]) -> bytes:
    """Return the program for `arch` (Debian's name) with these functions in its symbol table."""
    machine, loop, body = _CODE[arch]
    code = loop + b"\0" * (-len(loop) % 16)
    names, symbols = b"\0", bytes(_SYMBOL)
    start = _BASE + _HEADER + _PROGRAM
    for function in dict.fromkeys(functions):
        # STB_GLOBAL, STT_FUNC, in section 1
        symbols += struct.pack("<IBBHQQ", len(names), 0x12, 0, 1, start + len(code), len(body))
        names += function.encode() + b"\0"
        code += body + b"\0" * (-len(body) % 16)
    titles = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    at_symbols = _HEADER + _PROGRAM + len(code)
    at_names = at_symbols + len(symbols)
    at_titles = at_names + len(names)
    at_sections = at_titles + len(titles)
    size = at_titles + len(titles)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\2\1\1", 2, machine, 1, start, _HEADER, at_sections, 0),
        *(_HEADER, _PROGRAM, 1, _SECTION, 5, 4),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    sections = [
        bytes(_SECTION),
        _section(titles, b".text", 1, 6, start, start - _BASE, len(code)),
        _section(titles, b".symtab", 2, 0, 0, at_symbols, len(symbols), link=3, info=1, entry=_SYMBOL),
        _section(titles, b".strtab", 3, 0, 0, at_names, len(names)),
        _section(titles, b".shstrtab", 3, 0, 0, at_titles, len(titles)),
    ]
    return header + segment + code + symbols + names + titles + b"".join(sections)


def _section(
    titles: bytes, name: bytes, kind: int, flags: int, address: int, offset: int, size: int,
    *, link: int = 0, info: int = 0, entry: int = 0,
) -> bytes:  # fmt: skip
    return struct.pack(
        "<IIQQQQIIQQ", titles.index(name + b"\0"), kind, flags, address, offset, size, link, info, 16, entry
    )
