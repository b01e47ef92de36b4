"""The label of a printed entry: its text without the count, from which its process, kind of request and key are read.

A label begins with ABOUT (output.py). The label of a short key continues with the key as integers, which hold any byte.
That of a long key has an `@` in front, so that no two entries share a label, and continues with the key in pieces.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection
from typing import NamedTuple

from fleettrace.probes.model import WORD

__all__ = ["ABOUT_MAX", "LONG", "SEPARATOR", "WORDS", "WORDS_MAX", "Entry", "Labels", "key_of_integers"]

LONG = b"@"
"""The first byte of the label of a long key."""
SEPARATOR = b", "
ABOUT_MAX = (1 << 64) - 1

_COUNT = 9
"""KeyLayout.words."""
_DIGITS = 20
WORDS = re.compile(rb"-?\d{1,%d}(?:, -?\d{1,%d}){%d}" % (_DIGITS, _DIGITS, _COUNT - 1))
WORDS_MAX = _COUNT * (_DIGITS + 3)
_SHORT_LABEL = re.compile(rb"\d{1,19}(?:, -?\d{1,%d}){%d}" % (_DIGITS, _COUNT))
_LONG_LABEL = re.compile(rb"@\d{1,19}, ")
_MASK = (1 << 8 * WORD) - 1
_WORDS = struct.Struct(f"<{_COUNT}Q")
_UNREAD = bytes(_WORDS.size)


class Entry(NamedTuple):
    """One entry of a slice's map."""

    pid: int
    tag: int
    length: int
    """The key's length in bytes, as memcached has it."""
    data: bytes
    requests: int
    long: bool
    """It was in the map of long keys."""


class Labels:
    """Reads the labels of a trace in which a long key is printed as `pieces` strings of up to `piece` bytes."""

    def __init__(self, piece: int, pieces: int) -> None:
        self._piece = piece
        self._pieces = pieces
        self.longest = piece * pieces + len(SEPARATOR) * (pieces - 1)
        """Bytes of the longest printed long key."""

    def valid(self, labels: Collection[bytes], long: bool) -> bool:
        """Return whether a program can have printed these labels, of long keys or of short ones, for any process."""
        if not long:
            return all(map(_SHORT_LABEL.fullmatch, labels))
        abouts = map(_LONG_LABEL.match, labels)
        return all(
            about and len(label) - about.end() <= self.longest for label, about in zip(labels, abouts, strict=True)
        )

    def entry(self, label: bytes, requests: int) -> Entry:
        """Return the entry with this label, which must be valid."""
        long = label.startswith(LONG)
        number, _, shown = label[long:].partition(SEPARATOR)
        about = int(number)
        length = about & 0xFFFF
        key = self._join(shown, length) if long else key_of_integers(shown, length)
        return Entry(about >> 32, about >> 16 & 0xFFFF, length, key, requests, long)

    def _join(self, shown: bytes, length: int) -> bytes:
        """Return a long key from its printed pieces, as far as it was transmitted."""
        sizes = [min(self._piece, max(0, length - index * self._piece)) for index in range(self._pieces)]
        missing = sum(sizes) + len(SEPARATOR) * (self._pieces - 1) - len(shown)
        if missing == 0:
            return b"".join(_cut(shown, sizes) or [shown])
        # A short piece holds a NUL (the binary protocol allows it): the key is known up to there.
        for index, size in enumerate(sizes):
            if size >= missing and (parts := _cut(shown, [*sizes[:index], size - missing, *sizes[index + 1 :]])):
                return b"".join(parts[: index + 1])
        return shown.split(SEPARATOR)[0][: self._piece]


def _cut(shown: bytes, sizes: list[int]) -> list[bytes] | None:
    """Split `shown` into pieces of these sizes with a separator between them; None if it does not fit."""
    pieces: list[bytes] = []
    position = 0
    for size in sizes:
        if pieces and shown[position : position + len(SEPARATOR)] != SEPARATOR:
            return None
        position += len(SEPARATOR) if pieces else 0
        pieces.append(shown[position : position + size])
        position += size
    return pieces if position == len(shown) else None


def key_of_integers(shown: bytes, length: int) -> bytes:
    """Return the key of `length` bytes in these integers: eight bytes each, lowest byte first, 0 behind the key's end.

    The key is empty if all integers are 0: the kernel could not read it. (A key of NULs looks the same.)
    """
    words = [*map(int, shown.split(SEPARATOR))]
    try:
        data = _WORDS.pack(*words)
    except struct.error:
        # Old versions print them with a sign.
        data = _WORDS.pack(*(word & _MASK for word in words))
    return b"" if data == _UNREAD else data[:length]
