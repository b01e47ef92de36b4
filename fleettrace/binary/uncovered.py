"""Functions of code that neither the unwind table nor a symbol covers: where direct calls of the file lead.

Built with `-fno-asynchronous-unwind-tables` and stripped, a binary says nowhere where its functions begin. A function
that nobody calls directly then counts to the one before it, and bytes that look like a call may split one: whoever
relies on such a function has to see that its code belongs together (`locate.py` does).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from fleettrace.binary.elf import Elf, Machine

__all__ = ["called_pieces"]

MIN_GAP = 1 << 14
"""Bytes of the smallest stretch of code without a known function that is cut. A procedure linkage table, which has none
either (lld), is smaller, 3 KB in memcached; its entries must not count as functions that do_item_get calls."""
MAX_PIECES = 1 << 16
_CALL = re.compile(rb"\xe8(?=(.{4}))", re.DOTALL)
_ENDS = b"\xc3\xcc\x90\x00\xeb\xe9\xff"
"""The last byte of what stands before a function: a return, padding of any kind, or part of a jump back."""
_ALIGNED = 16


def called_pieces(elf: Elf, known: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each piece of x86-64 code outside the `known` ranges, cut where calls lead."""
    if elf.machine is not Machine.X86_64:
        return
    gaps = [gap for gap in _gaps(elf, sorted(known)) if gap[1] - gap[0] >= MIN_GAP]
    if not gaps:
        return
    targets = sorted(_targets(elf))[:MAX_PIECES]
    for first, end in gaps:
        starts = [target for target in targets if first <= target < end and _may_begin(elf, target)]
        yield from pairwise([*starts, end])


def _gaps(elf: Elf, known: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for base, code in elf.code():
        position = base
        for start, end in known:
            if position < start < base + len(code):
                yield position, start
            if start < base + len(code):
                position = max(position, end)
        if position < base + len(code):
            yield position, base + len(code)


def _targets(elf: Elf) -> set[int]:
    found: set[int] = set()
    for base, code in elf.code():
        for match in _CALL.finditer(code):
            target = base + match.end() + 4 + int.from_bytes(match[1], "little", signed=True)
            if base <= target < base + len(code):
                found.add(target)
    return found


def _may_begin(elf: Elf, address: int) -> bool:
    return address % _ALIGNED == 0 or elf.read(address - 1, 1) in {bytes([end]) for end in _ENDS}
