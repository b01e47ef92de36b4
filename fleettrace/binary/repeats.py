"""Look-ups that a request makes a second time: the store of a counter that the same request creates.

`ma` with N, and a binary incr with an initial value, look their key up in do_add_delta; when it is not there, they
store it, and do_store_item looks it up again. That look-up is told by who called do_store_item: a function that calls
do_add_delta too, right after it has made room for an item without flags. (Other stores have the client's flags, and
most make room when the command comes and store from the state machine, once the value is there.) Where that return
address lies on the stack, the unwind table says, or the chain of frame pointers.
Sources: process_marithmetic_command (proto_text.c), complete_incr_bin (proto_bin.c) of memcached 1.4.15 to 1.6.45.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleettrace.binary.elf import Machine
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS, block_before, reachable, written
from fleettrace.binary.references import Reference, ReferenceKind, References
from fleettrace.binary.unwind import has_frame_pointer, return_address_slot

__all__ = ["Caller", "RepeatedLookups"]

_MAX_DISTANCE = 64
"""Instructions from the call of item_alloc to that of do_store_item; real ones are within 40."""
_WORD = 8
_MAX_WRAPPER = 512
"""Bytes of the largest add_delta."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A return address further up the stack, `address` (virtual), and where on the stack it lies.

    With `frames` 0 it is `offset` bytes above the probed function's own; else `offset` bytes above where the frame
    pointer leads, followed from frame to frame `frames - 1` times.
    """

    offset: int
    address: int
    frames: int = 0


@dataclass(frozen=True, slots=True)
class RepeatedLookups:
    """What is known of the binary: where do_add_delta calls do_item_get, where item_alloc and do_item_alloc
    begin, and what gives the instructions of the function at an address."""

    references: References
    arith: Collection[int]
    allocators: Collection[int]
    read: Callable[[int], Mapping[int, Any]]

    def repeats(self, site: Reference) -> tuple[tuple[Caller, ...], ...]:
        """Return the chains of callers, nearest first, by which the look-up of do_store_item at `site` is a repeated
        one. One empty chain: every look-up from there is."""
        store = self.references.functions.at(site.site)
        if store is None:
            return ()
        if self._creates(site.site):
            return ((),)
        return tuple(self._chains(site, store.start))

    def _chains(self, site: Reference, store: int) -> Iterator[tuple[Caller, ...]]:
        first = self._above((0, 0), site)
        for call in _calls(self.references, store):
            wrapper = self.references.functions.at(call.site)
            if first is None or wrapper is None or not _alone(self.references, store, call):
                continue
            near = _caller(first, call)
            if self._creates(call.site):
                yield (near,)
                continue
            second = self._above(first, call)
            for outer in _calls(self.references, wrapper.start) if second is not None else ():
                if second is not None and self._creates(outer.site) and _alone(self.references, wrapper.start, outer):
                    yield near, _caller(second, outer)

    def _above(self, below: tuple[int, int], call: Reference) -> tuple[int, int] | None:
        """Return where the function that makes a call has its return address, as (frames, offset), by where the called
        one has its own."""
        function = self.references.functions.at(call.site)
        if function is None:
            return None
        frames, offset = below
        slot = _slot(self.references, function, call)
        if slot is not None:
            return frames, offset + slot
        # rbp is this function's own only if what it calls was asked at its entry, or has a frame pointer as well.
        if offset == (_WORD if frames else 0) and self._framed(function, call):
            return frames + 1, _WORD
        return None

    def _framed(self, function: Function, call: Reference) -> bool:
        """Return whether rbp leads to the frame of a function at the call: by its unwind table or, if it has none, by
        its code, which sets it up first thing and does not touch it before its end."""
        if self.references.elf.machine is not Machine.X86_64:
            return False
        if function.unwind is not None:
            return has_frame_pointer(function.unwind, function.start, call.site)
        code = [one for _, one in sorted(self.read(function.start).items()) if one.address != function.hook]
        begin = 1 if code and code[0].mnemonic == "endbr64" else 0
        if [f"{one.mnemonic} {one.op_str}" for one in code[begin : begin + 2]] != ["push rbp", "mov rbp, rsp"]:
            return False
        setting = [one for one in code[begin + 2 :] if written(one) & {"rbp", "ebp"}]
        return all(one.mnemonic == "leave" or (one.mnemonic, one.op_str) == ("pop", "rbp") for one in setting)

    def _creates(self, site: int) -> bool:
        """Whether the call at `site` stores a new item, in a function that calls do_add_delta too."""
        function = self.references.functions.at(site)
        if function is None or not self._adds(function):
            return False
        code = self.read(function.start)
        self.references.elf.work.spend(len(self.references.leaving(function.start)))
        allocating = [r for r in self.references.leaving(function.start) if r.target in self.allocators]
        self.references.elf.work.spend(len(allocating) * (len(code) >> 3))
        made = [r for r in allocating if _without_flags(self.references.elf.machine, code, r.site)]
        return any(
            instruction.address == site
            for call in made
            for _, instruction in reachable(code, call.site + call.size, _MAX_DISTANCE, self.references.elf.work)
        )

    def _adds(self, function: Function) -> bool:
        """Whether a function calls do_add_delta, or add_delta that wraps it, or holds it inlined."""
        functions = self.references.functions
        self.references.elf.work.spend(len(self.arith))
        deltas = {inner.start for at in self.arith if (inner := functions.at(at)) is not None}
        wrappers = {
            outer.start
            for start in deltas
            for r in self._to(start)
            if (outer := functions.at(r.site)) is not None and outer.end - outer.start <= _MAX_WRAPPER
        }
        return function.start in deltas or bool(self.references.callees(function.start) & (deltas | wrappers))

    def _to(self, start: int) -> list[Reference]:
        found = self.references.to(start)
        self.references.elf.work.spend(len(found))
        return found


def _calls(references: References, start: int) -> list[Reference]:
    return [reference for reference in references.to(start) if reference.kind is ReferenceKind.CALL]


def _caller(where: tuple[int, int], call: Reference) -> Caller:
    frames, offset = where
    return Caller(offset, call.site + call.size, frames)


def _slot(references: References, function: Function, call: Reference) -> int | None:
    """Bytes from the return address of a call to that of the function it is in."""
    if function.unwind is None:
        return None
    slot = return_address_slot(references.elf.machine, function.unwind, function.start, call.site)
    return None if slot is None else slot + _WORD


def _alone(references: References, start: int, call: Reference) -> bool:
    """Whether no other call of the function at `start` looks the same in the bits that the kernel compares."""
    references.elf.work.spend(len(references.to(start)))
    bits = [(each.site + each.size) & 0xFFF for each in references.to(start)]
    return bits.count((call.site + call.size) & 0xFFF) == 1


def _without_flags(machine: Machine, code: Mapping[int, Any], site: int) -> bool:
    """Whether the third argument of the call at `site` is the constant 0: item_alloc(key, nkey, flags, ...)."""
    names = set(ARGUMENTS[machine][2])
    for instruction in block_before(code, site):
        if written(instruction) & names:
            text = f"{instruction.mnemonic} {instruction.op_str}"
            return re.fullmatch(r"xor (\w+), \1|movz? \w+, (#?(0x)?0|wzr)", text) is not None
    return False
