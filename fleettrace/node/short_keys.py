"""Short keys as bpftrace prints them: integers of eight bytes each, lowest byte first, 0 behind the key's end."""

from __future__ import annotations

import re
import struct

from fleettrace.probes.model import WORD

__all__ = ["WORDS", "WORDS_MAX", "WORDS_SHOWN", "key_of_words"]

_COUNT = 9
"""KeyLayout.words."""
_DIGITS = 20
WORDS_SHOWN = rb"(?:, -?\d{1,%d}){%d}" % (_DIGITS, _COUNT)
"""The integers of one key, each with the joint before it."""
WORDS = re.compile(rb"-?\d{1,%d}(?:, -?\d{1,%d}){%d}" % (_DIGITS, _DIGITS, _COUNT - 1))
WORDS_MAX = _COUNT * (_DIGITS + 3)
_MASK = (1 << 8 * WORD) - 1


def key_of_words(shown: bytes, length: int) -> bytes:
    """Return the key of `length` bytes that stands in these integers.

    It is empty when all of them are 0: then the kernel could not read it. (A key of nothing but NULs looks the same.)
    """
    words = [int(word) & _MASK for word in shown.split(b", ")]
    return struct.pack(f"<{_COUNT}Q", *words)[:length] if any(words) else b""
