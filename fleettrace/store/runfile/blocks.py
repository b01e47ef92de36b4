"""Convert one instance's summary to blocks of rows, the most requested keys first, and back. Pure.

The blocks double in size: the hottest keys of a fleet are usually in the first block of each instance. Each block has
two members: one with what every merge needs (key, requests, covered), one with the rest.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any
from zlib import crc32

from fleettrace.store.runfile.codec import key_text, text_key
from fleettrace.store.runfile.gzip_members import INDEX_MOST
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key

__all__ = [
    "BLOCK_ROWS",
    "add_rows",
    "block_documents",
    "blocks_of",
    "column",
    "fingerprint",
    "fingerprints",
    "fingerprints_of",
]

BLOCK_ROWS = 256
"""Rows of an instance's first block; each following block has twice as many as the previous one."""

FINGERPRINTS = INDEX_MOST // 4
"""Rows in one member of fingerprints."""

_MOST_ROWS = 16_384
"""Rows of the largest block: about a megabyte of text."""

Rows = list[tuple[Key, KeyCount]]
Document = dict[str, Any]


def blocks_of(summary: Summary) -> list[Rows]:
    """Return the rows of a summary in blocks: most requests first, ties in the order of the keys' bytes."""
    rows = sorted(summary.keys.items(), key=lambda item: (-item[1].requests, item[0]))
    blocks, at, size = [], 0, BLOCK_ROWS
    while at < len(rows):
        blocks.append(rows[at : at + size])
        at, size = at + size, min(2 * size, _MOST_ROWS)
    return blocks


def block_documents(rows: Rows) -> tuple[Document, Document, Document]:
    """Return the block's entry in the host's line, and its two members."""
    counts = [count for _, count in rows]
    about = {
        "rows": len(rows),
        "most": max(count.requests for count in counts),
        "excess": max(count.excess for count in counts),
    }
    listed = {
        "kind": "counts",
        "key": [key_text(key.data) for key, _ in rows],
        "length": _folded([key.length if key.truncated else None for key, _ in rows]),
        "requests": [count.requests for count in counts],
        "covered": _folded([count.covered for count in counts]),
    }
    details = {
        "kind": "details",
        "ops": _folded([count.ops for count in counts]),
        "misses": _folded([count.misses for count in counts]),
        "value_bytes": _folded([count.value_bytes for count in counts]),
        "course": [count.timeline for count in counts],
    }
    return about, listed, details


def _folded(values: list[Any]) -> Any:
    """Return a column; the value alone if it is the same in every row."""
    return values[0] if all(value == values[0] for value in values) else values


def column(values: Any) -> Iterator[Any] | Sequence[Any]:
    """Return the values of a column made by `_folded`, row by row."""
    return values if isinstance(values, list) else repeat(values)


def add_rows(keys: dict[Key, KeyCount], listed: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Add the rows of a block to a summary's keys. Raises `KeyError`, `TypeError`, `ValueError` for an invalid
    block."""
    names = [text_key(text, length) for text, length in zip(listed["key"], column(listed["length"]), strict=False)]
    rows = zip(
        names,
        listed["requests"],
        column(listed["covered"]),
        column(details["ops"]),
        column(details["misses"]),
        column(details["value_bytes"]),
        details["course"],
        strict=False,
    )
    before = len(keys)
    for key, requests, covered, ops, misses, value_bytes, timeline in rows:
        keys[key] = KeyCount(requests, covered, None if ops is None else dict(ops), misses, value_bytes, timeline)
    if len(keys) - before != len(names):
        raise ValueError("its columns differ in length, or it has a key twice")


def fingerprint(key: str, length: int | None) -> int:
    """Return 32 bits for a key: the CRC-32 of its bytes, and of the digits of its length if it was truncated."""
    value = crc32(key.encode("latin-1"))
    return value if length is None else crc32(b"%d" % length, value)


def fingerprints_of(blocks: Sequence[Rows]) -> Iterator[bytes]:
    """Yield the fingerprints of all rows, `FINGERPRINTS` at a time, each part sorted. They show which keys are not in
    it."""
    rows = [row for block in blocks for row in block]
    for at in range(0, len(rows), FINGERPRINTS):
        names = ((key_text(key.data), key.length if key.truncated else None) for key, _ in rows[at : at + FINGERPRINTS])
        values = array("I", sorted(fingerprint(*name) for name in names))
        if sys.byteorder == "big":
            values.byteswap()
        yield values.tobytes()


def fingerprints(data: bytes) -> array[int]:
    """Unpack the fingerprints of `fingerprints_of`. Raises `ValueError`."""
    values = array("I")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
