"""How long a string each version of bpftrace can hold, and what that means for keys of up to 250 bytes.

With BPFTRACE_STRLEN=S, str(p, n) gives at most S - 1 bytes. Old versions refuse an S over 200 (BPF's stack has 512
bytes), so there a key is read as two strings, which stand side by side in the map's key.
"""

from __future__ import annotations

from fleettrace.probes.model import KeyLayout

__all__ = ["key_expression", "key_layout"]

Version = tuple[int, int, int]

_SHORT_STR = (0, 23, 0)
"""From here on str(p, n) keeps one of the n bytes for its NUL: n - 1 bytes of the string come through."""


def key_layout(version: Version, *, one_string: bool = False) -> KeyLayout:
    """The layout for the bpftrace of this version; with `one_string` in one piece, though it be shorter."""
    plus_one = version >= _SHORT_STR
    if plus_one:
        return KeyLayout(piece=255, pieces=1, strlen=256, plus_one=True)
    if one_string:
        return KeyLayout(piece=199, pieces=1, strlen=200, plus_one=False)
    return KeyLayout(piece=127, pieces=2, strlen=128, plus_one=False)


def key_expression(layout: KeyLayout, pointer: str, length: str) -> str:
    """The bpftrace expression for a key of `length` bytes at `pointer`, as one or more parts of a map's key.

    No string is asked to go past the key's end: what is behind it is not ours to read. A length of "0" stands for a
    text that ends with a NUL of its own; it is read as one string, for only that stops there.
    """
    if length == "0":
        return f"str({pointer})"
    parts = []
    for index in range(layout.pieces):
        start = index * layout.piece
        if start == 0:
            want = f"{length} + 1" if layout.plus_one else length
            parts.append(f"str({pointer}, {want})")
        else:
            rest = f"{length} - {start - 1}" if layout.plus_one else f"{length} - {start}"
            none = 1 if layout.plus_one else 0
            parts.append(f"str({pointer} + {start}, {length} > {start} ? {rest} : {none})")
    return ", ".join(parts)
