"""Recognize second look-ups by one request: the store of a counter that the same request creates.

`ma` with N, and a binary incr with an initial value, look their key up in do_add_delta. If it does not exist, they
store it, and do_store_item looks it up again. The caller of do_store_item shows this second look-up: it is a function
that also calls do_add_delta, right after an item_alloc with flags 0. (Other stores have the client's flags, and most
allocate when the command arrives and store from the state machine, once the value has arrived.) The unwind table, or
the chain of frame pointers, shows where that return address lies on the stack. Sources: process_marithmetic_command
(proto_text.c), complete_incr_bin (proto_bin.c) of memcached 1.4.15 to 1.6.45.
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
    """A return address further up the stack: its value `address` (virtual), and where on the stack it lies.

    With `frames` 0 it lies `offset` bytes above the probed function's own return address. Otherwise it lies `offset`
    bytes above the address that `frames - 1` steps along the chain of frame pointers lead to.
    """

    offset: int
    address: int
    frames: int = 0


@dataclass(frozen=True, slots=True)
class RepeatedLookups:
    """Finds second look-ups in one binary.

    `arith` has the addresses where do_add_delta calls do_item_get, `allocators` the addresses of item_alloc and
    do_item_alloc. `read` returns the instructions of the function at an address.
    """

    references: References
    arith: Collection[int]
    allocators: Collection[int]
    read: Callable[[int], Mapping[int, Any]]

    def repeats(self, call: Reference) -> tuple[tuple[Caller, ...], ...]:
        """Return the chains of callers, nearest first, for which the look-up `call` of do_store_item is a second one.

        One empty chain: every look-up from there is a second one.
        """
        store = self.references.functions.at(call.address)
        if store is None:
            return ()
        if self._creates(call.address):
            return ((),)
        return tuple(self._chains(call, store.start))

    def _chains(self, lookup: Reference, store: int) -> Iterator[tuple[Caller, ...]]:
        first = self._above((0, 0), lookup)
        for call in _calls(self.references, store):
            wrapper = self.references.functions.at(call.address)
            if first is None or wrapper is None or not _alone(self.references, store, call):
                continue
            near = _caller(first, call)
            if self._creates(call.address):
                yield (near,)
                continue
            second = self._above(first, call)
            for outer in _calls(self.references, wrapper.start) if second is not None else ():
                if (
                    second is not None
                    and self._creates(outer.address)
                    and _alone(self.references, wrapper.start, outer)
                ):
                    yield near, _caller(second, outer)

    def _above(self, below: tuple[int, int], call: Reference) -> tuple[int, int] | None:
        """Return where the return address of a call's function lies, as (frames, offset).

        `below` is the same for the function that it calls.
        """
        function = self.references.functions.at(call.address)
        if function is None:
            return None
        frames, offset = below
        slot = _slot(self.references, function, call)
        if slot is not None:
            return frames, offset + slot
        # rbp is this function's own only at the entry of the called function, or if that has a frame pointer too.
        if offset == (_WORD if frames else 0) and self._framed(function, call):
            return frames + 1, _WORD
        return None

    def _framed(self, function: Function, call: Reference) -> bool:
        """Return whether rbp leads to the frame of a function at the call.

        The unwind table shows it. Without a table, the code must set rbp up first and not change it before its end.
        """
        if self.references.elf.machine is not Machine.X86_64:
            return False
        if function.unwind is not None:
            return has_frame_pointer(function.unwind, function.start, call.address)
        code = [one for _, one in sorted(self.read(function.start).items()) if one.address != function.hook]
        begin = 1 if code and code[0].mnemonic == "endbr64" else 0
        if [f"{one.mnemonic} {one.op_str}" for one in code[begin : begin + 2]] != ["push rbp", "mov rbp, rsp"]:
            return False
        setting = [one for one in code[begin + 2 :] if written(one) & {"rbp", "ebp"}]
        return all(one.mnemonic == "leave" or (one.mnemonic, one.op_str) == ("pop", "rbp") for one in setting)

    def _creates(self, address: int) -> bool:
        """Return whether the call at `address` stores a new item, in a function that also calls do_add_delta."""
        function = self.references.functions.at(address)
        if function is None or not self._adds(function):
            return False
        code = self.read(function.start)
        self.references.elf.work.spend(len(self.references.leaving(function.start)))
        allocating = [r for r in self.references.leaving(function.start) if r.target in self.allocators]
        self.references.elf.work.spend(len(allocating) * (len(code) >> 3))
        made = [r for r in allocating if _without_flags(self.references.elf.machine, code, r.address)]
        return any(
            instruction.address == address
            for call in made
            for _, instruction in reachable(code, call.address + call.size, _MAX_DISTANCE, self.references.elf.work)
        )

    def _adds(self, function: Function) -> bool:
        """Return whether a function calls do_add_delta or its wrapper add_delta, or contains it inlined."""
        functions = self.references.functions
        self.references.elf.work.spend(len(self.arith))
        deltas = {inner.start for at in self.arith if (inner := functions.at(at)) is not None}
        wrappers = {
            outer.start
            for start in deltas
            for r in self._to(start)
            if (outer := functions.at(r.address)) is not None and outer.end - outer.start <= _MAX_WRAPPER
        }
        return function.start in deltas or bool(self.references.callees(function.start) & (deltas | wrappers))

    def _to(self, start: int) -> list[Reference]:
        found = self.references.to(start)
        self.references.elf.work.spend(len(found))
        return found


def _calls(references: References, start: int) -> list[Reference]:
    return [reference for reference in references.to(start) if reference.kind is ReferenceKind.CALL]


def _caller(location: tuple[int, int], call: Reference) -> Caller:
    frames, offset = location
    return Caller(offset, call.address + call.size, frames)


def _slot(references: References, function: Function, call: Reference) -> int | None:
    """Return the bytes from the return address of a call to that of its function, or None."""
    if function.unwind is None:
        return None
    slot = return_address_slot(references.elf.machine, function.unwind, function.start, call.address)
    return None if slot is None else slot + _WORD


def _alone(references: References, start: int, call: Reference) -> bool:
    """Return whether no other call of the function at `start` has the same bits that the program compares."""
    references.elf.work.spend(len(references.to(start)))
    bits = [(each.address + each.size) & 0xFFF for each in references.to(start)]
    return bits.count((call.address + call.size) & 0xFFF) == 1


def _without_flags(machine: Machine, code: Mapping[int, Any], call: int) -> bool:
    """Return whether the third argument of the call at `call` is the constant 0: item_alloc(key, nkey, flags, ...)."""
    names = set(ARGUMENTS[machine][2])
    for instruction in block_before(code, call):
        if written(instruction) & names:
            text = f"{instruction.mnemonic} {instruction.op_str}"
            return re.fullmatch(r"xor (\w+), \1|movz? \w+, (#?(0x)?0|wzr)", text) is not None
    return False
