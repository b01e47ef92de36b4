"""A run file's outer shape: gzip members one behind the other, each of which says how long it is.

gzip(1) and every library read such a file as one stream of text. Whoever knows of the length, which stands in the
member's extra field, gets from member to member without unpacking what lies between.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fleettrace.errors import ConfigError

__all__ = [
    "INDEX_MOST",
    "LEVEL",
    "UNPACKED_MOST",
    "Member",
    "damaged",
    "inflated",
    "pack",
    "read_bytes",
    "read_member",
    "unpack",
    "unpack_index",
]

LEVEL = 3
"""Twice as fast as the usual 6, for files a tenth larger: the controller is busy while hosts finish."""

_HEAD = struct.Struct("<2sBBIBBH2sHI")
"""RFC 1952, section 2.3: magic, method, flags, time, extra flags, system, length of the extra field; and in it first a
subfield: its name, its length, the member's size in bytes."""

_SUB = struct.Struct("<2sH")
"""A subfield's name and length."""

_MAGIC, _DEFLATE, _FEXTRA, _UNIX = b"\x1f\x8b", 8, 4, 3
_SUBFIELD, _INDEX = b"FT", b"FP"

INDEX_MOST = 64_000
"""Bytes that an index may have: an extra field is at most 65,535 long."""

UNPACKED_MOST = 1 << 25
"""Bytes of the longest line. The largest block of rows (blocks.py) has 25 million with keys of 250 bytes over 0x7f."""


class Member(NamedTuple):
    """One member: where it begins, its size, and the object on its line."""

    offset: int
    size: int
    document: dict[str, Any]
    unpacked: int
    """Bytes of the line."""


def pack(document: dict[str, Any], index: bytes = b"") -> bytes:
    """A member that holds one line of JSON, and up to `INDEX_MOST` bytes beside it, which whoever reads the lines does
    not see (the line has its checksum, for FHCRC is unknown to many). The same document gives the same bytes."""
    if index:
        document = {**document, "crc32": zlib.crc32(index)}
    line = json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(line) + deflate.flush()
    tail = struct.pack("<II", zlib.crc32(line), len(line) & 0xFFFFFFFF)
    beside = _SUB.pack(_INDEX, len(index)) + index if index else b""
    size = _HEAD.size + len(beside) + len(body) + len(tail)
    head = _HEAD.pack(_MAGIC, _DEFLATE, _FEXTRA, 0, 0, _UNIX, 8 + len(beside), _SUBFIELD, 4, size)
    return head + beside + body + tail


def unpack_index(member: bytes) -> bytes:
    """The bytes beside a member's line. Raises `ValueError` when it is damaged."""
    document = unpack(member)
    name, length = _SUB.unpack_from(member, _HEAD.size)
    index = member[_HEAD.size + _SUB.size : _HEAD.size + _SUB.size + length]
    if name != _INDEX or zlib.crc32(index) != document.get("crc32"):
        raise ValueError("its index is not what was written")
    return index


def unpack(member: bytes) -> dict[str, Any]:
    """The object in a member. Raises `ValueError` when it is damaged."""
    try:
        # 16: a gzip header, and the checksum behind it, are expected and looked at.
        document = json.loads(inflated(member, 16 + zlib.MAX_WBITS))
    except (zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"what is there cannot be unpacked ({error})") from None
    if not isinstance(document, dict):
        raise ValueError("what is there is no JSON object")
    return document


def inflated(packed: bytes, wbits: int = zlib.MAX_WBITS, most: int = UNPACKED_MOST) -> bytes:
    """Return what was packed. Raises `ValueError` when it is cut off or longer than `most` bytes, and `zlib.error`."""
    inflater = zlib.decompressobj(wbits)
    data = inflater.decompress(packed, most)
    if not inflater.eof:
        raise ValueError(f"it has more than {most:,} bytes" if len(data) == most else "it is cut off")
    return data


def read_member(file: BinaryIO, path: Path, offset: int) -> Member:
    """The member at `offset`. Raises `ConfigError` that names the file and the place when there is no whole one."""
    head = read_bytes(file, path, offset, _HEAD.size)
    magic, method, flags, _, _, _, _, name, length, size = _HEAD.unpack(head)
    if (magic, method, flags, name, length) != (_MAGIC, _DEFLATE, _FEXTRA, _SUBFIELD, 4) or size < _HEAD.size:
        raise damaged(path, offset, "no part of a run file begins there")
    try:
        member = head + read_bytes(file, path, offset + _HEAD.size, size - _HEAD.size)
        document = unpack(member)
        # The last four bytes are the line's length (RFC 1952), which was compared when it was unpacked.
        return Member(offset, size, document, int.from_bytes(member[-4:], "little"))
    except ValueError as error:
        raise damaged(path, offset, str(error)) from None


def read_bytes(file: BinaryIO, path: Path, offset: int, size: int) -> bytes:
    """So many bytes from `offset` on, all of them, else `ConfigError`."""
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise damaged(path, offset, f"the file ends after {offset + len(data)} bytes, in the middle of a part")
    return data


def damaged(path: Path, offset: int, what: str) -> ConfigError:
    """The error for a file that is not what was written. `offset` counts bytes from 0."""
    return ConfigError(f"the run file is damaged at byte {offset}: {what}; copy it again, or leave it out", file=path)
