"""The outer format of a run file: a sequence of gzip members, each with its own length in its extra field.

gzip(1) and every library read such a file as one stream of text. A reader that knows the length can skip members
without unpacking them.
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
"""Twice as fast as the default of 6, with files a tenth larger: the controller is busy while hosts finish."""

_HEAD = struct.Struct("<2sBBIBBH2sHI")
"""RFC 1952, section 2.3: magic, method, flags, time, extra flags, system, length of the extra field; and the first
subfield in it: its name, its length, the member's size in bytes."""

_SUB = struct.Struct("<2sH")
"""A subfield's name and length."""

_MAGIC, _DEFLATE, _FEXTRA, _UNIX = b"\x1f\x8b", 8, 4, 3
_SUBFIELD, _INDEX = b"FT", b"FP"

INDEX_MOST = 64_000
"""The most bytes of an index: an extra field has at most 65,535."""

UNPACKED_MOST = 1 << 25
"""Bytes of the longest line. The largest block of rows (blocks.py) has 25 million with keys of 250 bytes over 0x7f."""


class Member(NamedTuple):
    """One member: its position, its size, and the object on its line."""

    offset: int
    size: int
    document: dict[str, Any]
    unpacked: int
    """Bytes of the line."""


def pack(document: dict[str, Any], index: bytes = b"") -> bytes:
    """Return a member with one line of JSON, and up to `INDEX_MOST` bytes in its extra field.

    The line has a checksum of these bytes, because many readers do not know FHCRC. The same document gives the same
    bytes."""
    if index:
        document = {**document, "crc32": zlib.crc32(index)}
    line = json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(line) + deflate.flush()
    tail = struct.pack("<II", zlib.crc32(line), len(line) & 0xFFFFFFFF)
    extra = _SUB.pack(_INDEX, len(index)) + index if index else b""
    size = _HEAD.size + len(extra) + len(body) + len(tail)
    head = _HEAD.pack(_MAGIC, _DEFLATE, _FEXTRA, 0, 0, _UNIX, 8 + len(extra), _SUBFIELD, 4, size)
    return head + extra + body + tail


def unpack_index(member: bytes) -> bytes:
    """Return the bytes in a member's extra field. Raises `ValueError` when it is damaged."""
    document = unpack(member)
    name, length = _SUB.unpack_from(member, _HEAD.size)
    index = member[_HEAD.size + _SUB.size : _HEAD.size + _SUB.size + length]
    if name != _INDEX or zlib.crc32(index) != document.get("crc32"):
        raise ValueError("the checksum of its index is wrong")
    return index


def unpack(member: bytes) -> dict[str, Any]:
    """Return the object in a member. Raises `ValueError` when it is damaged."""
    try:
        # 16: zlib checks the gzip header and the checksum.
        document = json.loads(inflated(member, 16 + zlib.MAX_WBITS))
    except (zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"it cannot be unpacked ({error})") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def inflated(packed: bytes, wbits: int = zlib.MAX_WBITS, most: int = UNPACKED_MOST) -> bytes:
    """Return the unpacked data. Raises `ValueError` when it is incomplete or longer than `most` bytes, and
    `zlib.error`."""
    inflater = zlib.decompressobj(wbits)
    data = inflater.decompress(packed, most)
    if not inflater.eof:
        raise ValueError(f"it has more than {most:,} bytes" if len(data) == most else "it is incomplete")
    return data


def read_member(file: BinaryIO, path: Path, offset: int) -> Member:
    """Read the member at `offset`. Raises `ConfigError` with the file and the position if there is no complete one."""
    head = read_bytes(file, path, offset, _HEAD.size)
    magic, method, flags, _, _, _, _, name, length, size = _HEAD.unpack(head)
    if (magic, method, flags, name, length) != (_MAGIC, _DEFLATE, _FEXTRA, _SUBFIELD, 4) or size < _HEAD.size:
        raise damaged(path, offset, "no part of a run file begins here")
    try:
        member = head + read_bytes(file, path, offset + _HEAD.size, size - _HEAD.size)
        document = unpack(member)
        # The last four bytes are the line's length (RFC 1952), which unpacking has checked.
        return Member(offset, size, document, int.from_bytes(member[-4:], "little"))
    except ValueError as error:
        raise damaged(path, offset, str(error)) from None


def read_bytes(file: BinaryIO, path: Path, offset: int, size: int) -> bytes:
    """Read exactly `size` bytes at `offset`. Raises `ConfigError` if the file is shorter."""
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise damaged(path, offset, f"the file ends after {offset + len(data)} bytes, in the middle of a part")
    return data


def damaged(path: Path, offset: int, what: str) -> ConfigError:
    """Return the error for a damaged file. `offset` counts bytes from 0."""
    return ConfigError(f"the run file is damaged at byte {offset}: {what}; copy it again, or omit it", file=path)
