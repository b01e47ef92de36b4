"""Build the comparison of a request's key with the asked ones, from numbers alone.

The bytes of a key are a user's, so none of them enters a program: each is a part of an integer of up to 32 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from fleettrace.probes.model import WORD

__all__ = ["MAX_ASKED", "MAX_ASKED_BYTES", "comparison"]

MAX_ASKED = 16
"""The most keys of one program."""
MAX_ASKED_BYTES = 1024
"""The most bytes of all of them, which bounds the length of the program."""


def comparison(keys: Sequence[bytes]) -> str:
    """Return the statements that set `$asked` to the position, from 1, of the key of `$length` bytes at `$key`."""
    return "\n\t\t".join(
        f"if ({' && '.join([f'$length == {len(key)}', *_words(key)])}) {{ $asked = (uint64){number}; }}"
        for number, key in enumerate(keys, 1)
    )


def _words(key: bytes) -> Iterator[str]:
    """Yield the conditions on each eight bytes; the rest is read backwards from the key's end and shifted."""
    whole, rest = divmod(len(key), WORD)
    for index in range(whole):
        yield f"*(uint64*)($key + {index * WORD}) == {_number(key[index * WORD : (index + 1) * WORD])}"
    if rest:
        end = f"(*(uint64*)($key + {len(key)} - {WORD}) >> {8 * (WORD - rest)})"
        yield f"{end} == {_number(key[-rest:])}"


def _number(data: bytes) -> str:
    """Return up to eight bytes as an integer: in halves, because bpftrace reads no number above 2^63."""
    low, high = struct.unpack("<II", data.ljust(WORD, b"\0"))
    return f"(((uint64){high:#x} << 32) | (uint64){low:#x})"
