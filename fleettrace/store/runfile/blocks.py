"""One instance's summary as blocks of rows, the most requested keys first, and back. Pure.

The blocks double in size: whoever wants the hottest keys of a fleet unpacks the first block of each instance, seldom
more. Each block has two members, for what every merge needs (key, requests, covered) and for the rest.
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
"""Rows of an instance's first block; each further one has twice as many as the one before."""

FINGERPRINTS = INDEX_MOST // 4
"""Rows whose fingerprints are together."""

_MOST_ROWS = 16_384
"""Rows of the largest block: about a megabyte of text."""

Rows = list[tuple[Key, KeyCount]]
Document = dict[str, Any]


def blocks_of(summary: Summary) -> list[Rows]:
    """The rows of a summary in blocks: most requests first, ties in the order of the keys' bytes."""
    rows = sorted(summary.keys.items(), key=lambda item: (-item[1].requests, item[0]))
    blocks, at, size = [], 0, BLOCK_ROWS
    while at < len(rows):
        blocks.append(rows[at : at + size])
        at, size = at + size, min(2 * size, _MOST_ROWS)
    return blocks


def block_documents(rows: Rows) -> tuple[Document, Document, Document]:
    """What the host's line says of a block, and its two members."""
    counts = [count for _, count in rows]
    about = {
        "rows": len(rows),
        "most": max(count.requests for count in counts),
        "excess": max(count.requests - count.covered for count in counts),
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
    """A column; the value itself where it is the same in every row."""
    return values[0] if all(value == values[0] for value in values) else values


def column(values: Any) -> Iterator[Any] | Sequence[Any]:
    """What `_folded` made of a column, row by row."""
    return values if isinstance(values, list) else repeat(values)


def add_rows(keys: dict[Key, KeyCount], listed: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Put the rows of a block into a summary's keys. Raises `KeyError`, `TypeError`, `ValueError` for no such block."""
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
        raise ValueError("its columns differ in length, or a key is in it twice")


def fingerprint(key: str, length: int | None) -> int:
    """32 bits of a key: the CRC-32 of its bytes, and of the digits of its length where it was cut."""
    mark = crc32(key.encode("latin-1"))
    return mark if length is None else crc32(b"%d" % length, mark)


def fingerprints_of(blocks: Sequence[Rows]) -> Iterator[bytes]:
    """The fingerprints of all rows, by which a reader learns what keys are not among them: sorted, `FINGERPRINTS` of
    them at a time."""
    rows = [row for block in blocks for row in block]
    for at in range(0, len(rows), FINGERPRINTS):
        names = ((key_text(key.data), key.length if key.truncated else None) for key, _ in rows[at : at + FINGERPRINTS])
        marks = array("I", sorted(fingerprint(*name) for name in names))
        if sys.byteorder == "big":
            marks.byteswap()
        yield marks.tobytes()


def fingerprints(data: bytes) -> array[int]:
    """The fingerprints of `fingerprints_of`. Raises `ValueError`."""
    marks = array("I")
    marks.frombytes(data)
    if sys.byteorder == "big":
        marks.byteswap()
    return marks
