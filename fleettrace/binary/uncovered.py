"""Split code that neither the unwind table nor a symbol covers into functions, at the targets of direct calls.

A stripped binary built with `-fno-asynchronous-unwind-tables` does not record where its functions begin. A function
without a direct call is then counted to the one before it, and bytes that resemble a call may split a function. Users
of such a function must check that its code belongs together (`locate.py` does).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise

from fleettrace.binary.elf import Elf, Machine

__all__ = ["called_pieces"]

MIN_GAP = 1 << 14
"""Bytes of the smallest stretch of code to split. A procedure linkage table, which has no unwind table either (lld), is
smaller: 3 KB in memcached. Its entries must not count as functions that do_item_get calls; `called_pieces` skips those
in a longer stretch."""
MAX_PIECES = 1 << 16
_CALL = re.compile(rb"\xe8(?=(.{4}))", re.DOTALL)
_ENDS = b"\xc3\xcc\x90\x00\xeb\xe9\xff"
"""The byte before a function: a return, padding of any kind, or part of a jump back."""
_ALIGNED = 16
_LINKAGE = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?(?:\x41\xbb.{4})?\xf2?\xff\x25", re.DOTALL)
"""The start of an entry of a procedure linkage table: a jump through the global offset table, behind endbr64 where the
linker writes it, and behind the entry's number in mold's tables."""
_LINKAGE_BYTES = 13


def called_pieces(elf: Elf, known: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each piece of x86-64 code outside the `known` ranges, split at the targets of calls."""
    if elf.machine is not Machine.X86_64:
        return
    gaps = [gap for gap in _gaps(elf, sorted(known)) if gap[1] - gap[0] >= MIN_GAP]
    if not gaps:
        return
    targets = sorted(_targets(elf))[:MAX_PIECES]
    for first, end in gaps:
        inside = targets[bisect_left(targets, first) : bisect_left(targets, end)]
        starts = [target for target in inside if _may_begin(elf, target)]
        for piece in pairwise([*starts, end]):
            if not _LINKAGE.match(elf.read(piece[0], min(_LINKAGE_BYTES, end - piece[0]))):
                yield piece


def _gaps(elf: Elf, known: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for base, code in elf.code():
        position = base
        elf.work.spend(len(known) >> 2)
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
            elf.work.spend()
            target = base + match.end() + 4 + int.from_bytes(match[1], "little", signed=True)
            if base <= target < base + len(code):
                found.add(target)
    return found


def _may_begin(elf: Elf, address: int) -> bool:
    return address % _ALIGNED == 0 or elf.read(address - 1, 1) in {bytes([end]) for end in _ENDS}
