"""Recognize the memcached command behind each call of `do_item_get`, by signs in the code around the call.

At the function's entry the return address identifies the call site, at no extra cost. Most call sites belong to one
command: only `do_store_item` passes the length byte of an item, only `do_add_delta` first checks whether the value is
longer than two bytes, and so on. These signs hold in stripped and inlined builds. The symbol of the enclosing function,
if there is one, takes precedence. A call site without a sure sign has the operation None, not a guess.
item_get serves several commands. With do_update these are fetches. Without it, they are `me` and a refused store (which
looks its key up to remove the old value), and up to 1.5.6 delete: that is None too. Before 1.4.35 there is no
do_update, so no fetch is recognized by it.
Sources: items.c, thread.c, memcached.c, proto_*.c of memcached 1.4.15 to 1.6.45.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fleettrace.binary.elf import Machine
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS, block_before, disassemble, leaves, reachable, written
from fleettrace.binary.references import Reference, ReferenceKind, References
from fleettrace.binary.repeats import Caller, RepeatedLookups
from fleettrace.binary.symbols import base_name
from fleettrace.binary.work import Work

__all__ = ["CallSite", "Operation", "call_sites"]

MAX_SITES = 64
"""The most call sites of one binary; an `-O3 -flto` build has 16."""

MAX_READ = 1 << 18
"""Bytes of calling functions to disassemble in all; real binaries need some 40,000."""


class Operation(StrEnum):
    """The operation of a request, as reported. `touch` includes gat; `other` is `me`, which only reads metadata."""

    GET = "get"
    SET = "set"
    DELETE = "delete"
    ARITH = "arith"
    TOUCH = "touch"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class CallSite:
    """One address that `do_item_get` returns to. `return_address` is virtual: add the mapping's base for a process.

    `caller` is the symbol of the enclosing function, if there is one, and `caller_address` its first address.
    `operation` is the operation of a request from here, None if unknown. Where `fetch` is set, a request has that
    operation if its do_update argument (the fifth, `& 0xff`) is 1, and `operation` otherwise. `repeats` has the chains
    of further callers for which the look-up is the second one of a request.
    """

    return_address: int
    caller: str | None
    caller_address: int
    operation: Operation | None
    fetch: Operation | None = None
    repeats: tuple[tuple[Caller, ...], ...] = ()


_Verdict = tuple[Operation | None, Operation | None]

_BY_CALLER: dict[str, _Verdict] = {
    "do_store_item": (Operation.SET, None),
    "do_add_delta": (Operation.ARITH, None),
    "do_item_touch": (Operation.TOUCH, None),
    "item_touch": (Operation.TOUCH, None),
    "limited_get_locked": (Operation.GET, None),
    "process_delete_command": (Operation.DELETE, None),
    "process_delete_cmd": (Operation.DELETE, None),
    "process_mdelete_command": (Operation.DELETE, None),
    "process_mdelete_cmd": (Operation.DELETE, None),
    "process_bin_delete": (Operation.DELETE, None),
    "process_mset_command": (Operation.SET, None),
    "process_mset_cmd": (Operation.SET, None),
    "process_mset_cmd_start": (Operation.SET, None),
    "process_update_command": (Operation.SET, None),
    "process_update_cmd_start": (Operation.SET, None),
    "process_mget_command": (Operation.GET, None),
    "process_mget_cmd": (Operation.GET, None),
    "process_touch_command": (Operation.TOUCH, None),
    "process_touch_cmd": (Operation.TOUCH, None),
}
"""The functions that serve one command; those that serve several (`limited_get`: get and gat) are not listed."""

_REFCOUNT_LIMIT = 0xEA60
"""IT_REFCOUNT_LIMIT, 60000: `limited_get` and `limited_get_locked` compare a fetched item with it (memcached.h)."""
_EXPTIME = 0x1C
"""The offset of `exptime` in an item: after three pointers and `time` (struct _stritem, memcached.h)."""
_NBYTES = 0x20
"""The offset of `nbytes` in an item, behind `exptime`."""
_META_DEBUG = 0x454D
"""The bytes "ME" at the start of a meta debug answer, as compilers store them."""

_SHADOW = 0x7FFF8000
"""The address sanitizer's shadow memory on x86-64 (compiler-rt, asan_mapping.h)."""

_NO_FLAG, _VARIABLE = -1, -2
"""The values for a do_update that is not passed, and for one that is not a constant."""

NEAR, FAR = 8, 64
"""Instructions after a call to search for the handling of its result, and for that of the complete command."""


def call_sites(references: References, target: Function, allocators: Collection[int] = ()) -> tuple[CallSite, ...]:
    """Return every address that `target` (`do_item_get`) returns to, also through functions that end in a jump to it.

    `allocators` are the addresses of item_alloc and do_item_alloc.
    """
    reader = _Reader(references, references.callees(target.start))
    found: dict[int, CallSite] = {}
    calls: dict[int, Reference] = {}
    for reference, direct in _returns(references, target.start, set()):
        if len(found) >= MAX_SITES:
            break
        function = references.functions.at(reference.address)
        if function is None:
            continue
        owner = references.functions.starting(references.owner_of(function.start)) or function
        operation, fetch = reader.verdict(reference, owner, direct)
        address = reference.address + reference.size
        found[address] = CallSite(address, owner.name, owner.start, operation, fetch)
        if direct:
            calls[address] = reference
    arith = {call.address for address, call in calls.items() if found[address].operation is Operation.ARITH}
    lookups = RepeatedLookups(references, arith, allocators, reader.read_at)
    for address, call in calls.items():
        if found[address].operation is Operation.SET:
            found[address] = replace(found[address], repeats=lookups.repeats(call))
    return tuple(found[address] for address in sorted(found))


def _returns(references: References, start: int, seen: set[int]) -> Iterator[tuple[Reference, bool]]:
    """Yield the calls after which the function at `start` returns, and whether each calls it directly."""
    seen.add(start)
    for reference in references.to(start):
        references.elf.work.spend(2)
        if reference.kind is ReferenceKind.CALL:
            yield reference, len(seen) == 1
            continue
        jumper = references.functions.at(reference.address)
        outer = None if jumper is None else references.owner_of(jumper.start)
        if outer is not None and outer not in seen and len(seen) < 4:
            for call, _ in _returns(references, outer, set(seen)):
                yield call, False


class _Reader:
    """Classifies call sites; disassembles each function once, and all of them within a bound."""

    def __init__(self, references: References, unlinking: set[int]) -> None:
        self._references = references
        self._unlinking = unlinking
        self._code: dict[int, dict[int, Any]] = {}
        self._remaining = MAX_READ

    def verdict(self, reference: Reference, owner: Function, direct: bool) -> _Verdict:
        """Return the operations of the call `reference`; `direct`: it calls `do_item_get` itself."""
        known = _BY_CALLER.get(base_name(owner.name or ""))
        if known is not None:
            return known
        code = self._read(self._references.functions.at(reference.address) or owner)
        if reference.address not in code:
            return None, None
        machine = self._references.elf.machine
        before = block_before(code, reference.address)
        after = reference.address + reference.size
        if direct and _passes_item_length(machine, before):
            return Operation.SET, None
        work = self._references.elf.work
        if _checks_value_length(code, after, work):
            return Operation.ARITH, None
        if _sets_exptime_at_once(code, after, work):
            return Operation.TOUCH, None
        return _by_handling(code, after, _flag(machine, before) if direct else _NO_FLAG, self._unlinking, work)

    def read_at(self, address: int) -> Mapping[int, Any]:
        """Return the instructions of the function that contains `address`, by address."""
        function = self._references.functions.at(address)
        return {} if function is None else self._read(function)

    def _read(self, function: Function) -> Mapping[int, Any]:
        size = function.end - function.start
        if function.start not in self._code and size <= self._remaining:
            self._remaining -= size
            read = disassemble(self._references.elf, function.start, function.end)
            self._code[function.start] = {instruction.address: instruction for instruction in read}
        return self._code.get(function.start, {})


def _by_handling(code: Mapping[int, Any], after: int, flag: int, unlinking: set[int], work: Work) -> _Verdict:
    """Classify by the use of the item: a fetch checks the number of references, a deletion unlinks."""
    window = [instruction for _, instruction in reachable(code, after, FAR, work)]
    if flag == _VARIABLE:
        return None, Operation.GET
    if any(_has_immediate(i, _REFCOUNT_LIMIT) for i in window[: 2 * FAR]):
        if any(_sets_exptime(i) for i in window[: 2 * FAR]):
            # Inlined gat and get share the check.
            return None, None
        return (Operation.OTHER if any(_has_immediate(i, _META_DEBUG) for i in window) else Operation.GET), None
    if any(_has_immediate(i, _SHADOW) for i in window):
        # The sanitizer's checks push so much of a command out of reach that do_add_delta resembles a deletion.
        return None, None
    called = {int(i.op_str.lstrip("#"), 16) for i in window if i.mnemonic in ("call", "bl") and "0x" in i.op_str[:3]}
    if flag != 1 and len(called & unlinking) >= 2 and any(_counts(code, i) for i in window):
        return Operation.DELETE, None
    return None, None


def _flag(machine: Machine, before: list[Any]) -> int:
    """Return the constant passed as do_update, `_VARIABLE` for a variable, `_NO_FLAG` if nothing is passed."""
    names = set(ARGUMENTS[machine][4])
    for instruction in before:
        if written(instruction) & names:
            if re.fullmatch(r"xor (\w+), \1", f"{instruction.mnemonic} {instruction.op_str}"):
                return 0
            constant = re.fullmatch(r"\w+, #?(0x)?([01])", instruction.op_str)
            if instruction.mnemonic in ("mov", "movz") and constant:
                return int(constant[2])
            return 0 if instruction.op_str.endswith(", wzr") and instruction.mnemonic == "mov" else _VARIABLE
    return _NO_FLAG


def _passes_item_length(machine: Machine, before: list[Any]) -> bool:
    """Return whether the second argument is one byte of memory: `it->nkey`, which only `do_store_item` passes.

    Without optimization other registers carry it in between.
    """
    names = set(ARGUMENTS[machine][1])
    for instruction in before:
        if not written(instruction) & names:
            continue
        if instruction.mnemonic == "ldrb" or (instruction.mnemonic == "movzx" and "byte ptr [" in instruction.op_str):
            return True
        copied = re.fullmatch(r"\w+, (\w+)", instruction.op_str)
        if machine is not Machine.X86_64 or instruction.mnemonic not in ("mov", "movzx") or copied is None:
            return False
        names = _parts(copied[1])
    return False


def _parts(register: str) -> set[str]:
    """Return the names of all parts of an x86-64 register, by one of them."""
    if found := re.fullmatch(r"r(\d+)[dwb]?", register):
        return {f"r{found[1]}{part}" for part in ("", "d", "w", "b")}
    if found := re.fullmatch(r"[re]?([abcd])[xl]", register):
        return {f"r{found[1]}x", f"e{found[1]}x", f"{found[1]}x", f"{found[1]}l"}
    if found := re.fullmatch(r"[re]?(si|di)l?", register):
        return {f"r{found[1]}", f"e{found[1]}", found[1], f"{found[1]}l"}
    return set()


def _checks_value_length(code: Mapping[int, Any], after: int, work: Work) -> bool:
    """Return whether the code has `if (it->nbytes <= 2 ...`, which `do_add_delta` checks before it reads the number.

    Compilers write `< 3` too. The field must belong to the returned item: settings.verbose, which other functions
    compare, has the same offset in `settings`.
    """
    item, loaded = {"rax", "x0"}, set[str]()
    for _, instruction in reachable(code, after, 2 * NEAR, work):
        name, operands = instruction.mnemonic, instruction.op_str
        compared = re.fullmatch(r"(.+), #?[23]", operands) if name == "cmp" else None
        if compared and (compared[1] in loaded or _field_of(compared[1]) in item):
            return True
        to, _, source = operands.partition(", ")
        if name in ("str", "stur"):
            to, source = source, to
        if name in ("mov", "str", "stur", "ldr", "ldur") and source.removeprefix("qword ptr ") in item:
            item.add(to.removeprefix("qword ptr "))
        elif name in ("mov", "ldr") and _field_of(source) in item:
            loaded.add(to)
        else:
            item -= written(instruction)
            loaded -= written(instruction)
    return False


def _field_of(operand: str) -> str | None:
    """Return the register of the structure if the operand is its `nbytes`."""
    found = re.fullmatch(rf"(?:dword ptr )?\[(\w+)(?: \+|,) #?{_NBYTES:#x}\]", operand)
    return found[1] if found else None


def _sets_exptime(instruction: Any) -> bool:
    """Return whether the instruction is `it->exptime = exptime`, as in `do_item_touch`."""
    if instruction.mnemonic == "mov":
        return re.match(rf"dword ptr \[\w+ \+ {_EXPTIME:#x}\], [a-z]", instruction.op_str) is not None
    return (
        instruction.mnemonic == "str"
        and re.fullmatch(rf"w\d+, \[x\d+, #{_EXPTIME:#x}\]", instruction.op_str) is not None
    )


def _sets_exptime_at_once(code: Mapping[int, Any], after: int, work: Work) -> bool:
    """Return whether the path of a found item sets the time, with no other condition before."""
    for _, first in reachable(code, after, NEAR, work):
        if first.mnemonic not in ("je", "jne", "cbz", "cbnz", "b.eq", "b.ne"):
            continue
        for _, instruction in reachable(code, first.address, NEAR, work):
            if _sets_exptime(instruction):
                return True
            if instruction is not first and leaves(instruction) and instruction.mnemonic not in ("jmp", "b", "ret"):
                return False
        return False
    return False


def _has_immediate(instruction: Any, value: int) -> bool:
    return re.search(rf"\b{value:#x}\b", instruction.op_str) is not None


def _counts(code: Mapping[int, Any], instruction: Any) -> bool:
    """Return whether a 64-bit counter in memory goes up by one, as the statistics of every finished command do."""
    name, text = instruction.mnemonic, instruction.op_str
    if name in ("add", "inc") and re.fullmatch(r"qword ptr \[.*\](, 1)?", text):
        return True
    sum_ = re.fullmatch(r"(x\d+), \1, #1", text) if name == "add" else None
    stored = code.get(instruction.address + instruction.size)
    return (
        sum_ is not None
        and stored is not None
        and stored.mnemonic == "str"
        and stored.op_str.startswith(f"{sum_[1]}, [")
    )
