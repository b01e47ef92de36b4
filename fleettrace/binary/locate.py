"""Locate memcached's functions in a binary without symbols, by several signs that must agree.

`do_item_get` contains the phrases that memcached prints with -vvv; it uses its first two arguments; several functions
call it and test the pointer it returns. `do_item_alloc` is called by every function that can answer "object too
large"; it first refuses values of less than two bytes, and one of its callers also calls `do_item_get`.
Where the signs disagree, the result is a reason and no address, because a probe on the wrong function would count
other events. Sources: items.c, thread.c and proto_*.c of memcached 1.4.36 to 1.6.45.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fleettrace.binary.elf import Elf
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS, disassemble, leaves, reachable, read, written
from fleettrace.binary.references import Reference, ReferenceKind, References, string_addresses

__all__ = [
    "Located",
    "Miss",
    "has_phrases",
    "inlined_copies",
    "locate_do_item_get",
    "locate_item_alloc",
    "users_of_phrases",
]

GET_PHRASES = (
    (b"> NOT FOUND ", b"> NOT FOUND %s", b"NOT FOUND"),
    (b"> FOUND KEY ", b"FOUND KEY", b"> FOUND KEY %s"),
    (b" -nuked by flush", b" -removed by flush"),
    (b" -nuked by expire", b" -removed by expire"),
)
"""The phrases of `do_item_get` with -vvv, each in the wordings of 1.4.15 to 1.6.45 (items.c)."""

ALLOC_PHRASE = b"SERVER_ERROR object too large for cache"
"""The answer of every text command that stores when `item_alloc` returns NULL (proto_text.c, proto_parser.c)."""

MAX_PROLOGUE = 48
"""Instructions from an entry that contain the saving of arguments and the first check."""
MAX_REACHED = 1000
"""Instructions from an entry, along the longest path, that contain the phrases of do_item_get."""
MAX_THUNK = 96
"""Bytes of the longest `item_alloc` that only passes its arguments on: without optimization it saves them first."""

PASSES = ("call", "bl")
ENDS = (*PASSES, "ret")
"""Instructions after which the argument registers no longer hold the caller's arguments."""


@dataclass(frozen=True, slots=True)
class Located:
    """A function found without a symbol, and the signs by which it was found."""

    function: Function
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a function was not found."""

    reason: str


_NO_FUNCTIONS = Miss("the binary has no unwind table (.eh_frame) that shows where its functions begin")
_UNCOVERED = Miss("the unwind table (.eh_frame) does not cover the code that prints do_item_get's phrases")


def has_phrases(elf: Elf) -> bool:
    """Return whether the file contains any phrase of `do_item_get`; a binary without one is not memcached."""
    return any(string_addresses(elf, phrase) for wordings in GET_PHRASES for phrase in wordings)


def inlined_copies(users: dict[bytes, set[int]], do_item_get: Function) -> int:
    """Return how many other functions contain a copy of `do_item_get`, by the phrases that only it has."""
    return len(
        set().union(*(users[phrase] for wordings in GET_PHRASES[2:] for phrase in wordings)) - {do_item_get.start}
    )


def users_of_phrases(references: References) -> dict[bytes, set[int]]:
    """Return the functions that use each phrase of the search, in one pass over the code."""
    return references.users([phrase for wordings in GET_PHRASES for phrase in wordings] + [ALLOC_PHRASE])


def locate_do_item_get(references: References, users: dict[bytes, set[int]]) -> Located | Miss:
    """Return `do_item_get` if phrases, arguments and callers agree."""
    if not len(references.functions):
        return _NO_FUNCTIONS
    users_by_phrase = [set().union(*(users[phrase] for phrase in wordings)) for wordings in GET_PHRASES]
    used = [group for group in users_by_phrase if group]
    if not used and has_phrases(references.elf):
        return _UNCOVERED
    if len(used) < 3:
        return Miss(f"only {len(used)} of the {len(GET_PHRASES)} phrases that do_item_get prints are used in the code")
    common = set.intersection(*used)
    any_user = set().union(*users_by_phrase[2:])
    if len(common) > 1:
        return Miss(f"it is inlined into {len(common)} functions")
    if not common:
        return Miss("no function uses all phrases that do_item_get prints")
    start = common.pop()
    if len(any_user) > 1:
        return Miss(f"{len(any_user)} functions use the phrases that do_item_get prints: the compiler inlined it")
    function = references.functions.starting(start)
    if function is None:
        return Miss(f"the code at {start:#x} uses the phrases, but no function begins there")
    guessed = function.unwind is None and function.name is None
    if guessed and not _reaches(
        references, function, [wordings for wordings in GET_PHRASES if any(map(users.get, wordings))]
    ):
        return Miss(f"no unwind table covers it, and the code at {start:#x} does not lead to the phrases")
    signs = [f"prints {len(used)} of its {len(GET_PHRASES)} phrases, alone"]
    if not _uses(references.elf, function, 2):
        return Miss(f"the function at {start:#x} prints the phrases but does not use its first two arguments")
    signs.append("uses a pointer and a length")
    callers = references.to(start)
    tested = sum(_tests_result(references, reference) for reference in callers)
    if len(callers) < 2 or tested < 2:
        return Miss(f"the function at {start:#x} is called {len(callers)} times, its result tested {tested} times")
    signs.append(f"called from {len(callers)} places, which test the pointer it returns")
    return Located(function, tuple(signs))


def locate_item_alloc(
    references: References, users: dict[bytes, set[int]], do_item_get: Function | None
) -> tuple[Located | Miss, Located | Miss]:
    """Return `item_alloc`, unless the compiler inlined it, and `do_item_alloc`, which it wraps."""
    both = _allocators(references, users, do_item_get)
    if isinstance(both, Miss):
        return both, both
    wrappers, inner = both
    if len(wrappers) != 1:
        return Miss(f"item_alloc is inlined ({len(wrappers)} functions only pass their arguments on)"), inner
    wrapper = Located(wrappers[0], ("passes its arguments on to do_item_alloc", *inner.signs))
    return wrapper, inner


def _allocators(
    references: References, users: dict[bytes, set[int]], do_item_get: Function | None
) -> tuple[list[Function], Located] | Miss:
    if not len(references.functions):
        return _NO_FUNCTIONS
    storing = users[ALLOC_PHRASE]
    if not storing:
        return Miss('no code uses the phrase "object too large for cache"')
    shared = set.intersection(*(references.callees(start) for start in storing))
    thunks = {start: inner for start in shared if (inner := _passes_on_to(references, start)) is not None}
    candidates = {thunks.get(start, start) for start in shared}
    checked = [
        function
        for start in sorted(candidates)
        if (function := references.functions.starting(start)) is not None
        and _refuses_short_values(references.elf, function)
    ]
    if len(checked) != 1:
        return Miss(f"{len(checked)} functions that every storing command calls refuse values under two bytes, not one")
    found = checked[0]
    if not _uses(references.elf, found, 2):
        return Miss(f"the function at {found.start:#x} refuses short values but does not use its first two arguments")
    if do_item_get is None:
        return Miss("do_item_get was not found, so nothing confirms the allocator")
    callers = {f.start for r in references.to(found.start) if (f := references.functions.at(r.address)) is not None}
    if not any(do_item_get.start in references.callees(caller) for caller in callers):
        return Miss(f"no caller of the function at {found.start:#x} calls do_item_get too")
    signs = (
        f"called by all {len(storing)} functions that can answer 'object too large'",
        "refuses values of less than two bytes",
        "uses a pointer and a length",
        "a caller calls do_item_get too",
    )
    wrappers = [f for start in thunks if thunks[start] == found.start and (f := references.functions.starting(start))]
    return wrappers, Located(found, signs)


def _passes_on_to(references: References, start: int) -> int | None:
    """Return the target of a small function that only calls or jumps to one other; None for other functions."""
    function = references.functions.starting(start)
    if function is None or function.end - function.start > MAX_THUNK:
        return None
    targets = {reference.target for reference in references.leaving(start) if reference.address != function.hook}
    return targets.pop() if len(targets) == 1 else None


def _reaches(references: References, function: Function, phrases: Sequence[Sequence[bytes]]) -> bool:
    """Return whether the code from a function's beginning leads, within it, to the use of each phrase."""
    elf = references.elf
    code = {each.address: each for each in disassemble(elf, function.start, function.end)}
    used: set[int] = set()
    for _, instruction in reachable(code, function.start, MAX_REACHED, elf.work):
        relative = re.search(r"\[rip ([+-]) (0x[0-9a-f]+)\]", instruction.op_str)
        absolute = re.search(r", (0x[0-9a-f]+)$", instruction.op_str)
        if relative:
            used.add(instruction.address + instruction.size + int(relative[1] + relative[2], 16))
        elif absolute:
            used.add(int(absolute[1], 16))
    return all(used & {at for phrase in wordings for at in string_addresses(elf, phrase)} for wordings in phrases)


def _prologue(elf: Elf, function: Function) -> Iterator[Any]:
    """Yield the first instructions of a function, without the call of a profiler."""
    for instruction in disassemble(elf, function.start, function.end, MAX_PROLOGUE):
        if instruction.address != function.hook:
            yield instruction


def _uses(elf: Elf, function: Function, arguments: int) -> bool:
    """Return whether the code near the entry reads each of the first arguments before it overwrites them.

    Passing them on to another function counts too: do_item_get of 1.4.15 begins with the call of
    assoc_find(key, nkey, hv).
    """
    waiting = {names[0]: set(names) for names in ARGUMENTS[elf.machine][:arguments]}
    for instruction in _prologue(elf, function):
        taken = read(instruction)
        waiting = {name: parts for name, parts in waiting.items() if not taken & parts}
        if not waiting:
            return True
        if instruction.mnemonic in PASSES and "0x" in instruction.op_str:
            return True
        changed = written(instruction)
        if instruction.mnemonic in ENDS or any(changed & parts for parts in waiting.values()):
            return False
    return False


def _refuses_short_values(elf: Elf, function: Function) -> bool:
    """Return whether the code near the entry has `if (nbytes < 2) return 0`, nbytes being the fifth argument."""
    held = set(ARGUMENTS[elf.machine][4])
    for instruction in _prologue(elf, function):
        operands = [operand.strip().lstrip("#") for operand in instruction.op_str.split(",")]
        if instruction.mnemonic == "cmp" and operands[0] in held and operands[-1] in ("1", "2"):
            return True
        if instruction.mnemonic == "mov" and len(operands) == 2 and operands[1] in held:
            held.add(operands[0])
        elif instruction.mnemonic != "cmp":
            held -= written(instruction)
        if instruction.mnemonic in ENDS:
            return False
    return False


def _tests_result(references: References, reference: Reference, depth: int = 2) -> bool:
    """Return whether the code after a call compares its result with NULL; for a tail call its callers must do so."""
    elf, position = references.elf, reference.address
    elf.work.spend()
    function = references.functions.at(position)
    if function is None or depth == 0:
        return False
    if reference.kind is ReferenceKind.JUMP:
        return any(_tests_result(references, outer, depth - 1) for outer in references.to(function.start))
    held = {"rax", "x0"}
    after = position + reference.size
    for instruction in disassemble(elf, after, function.end, 8):
        operands = instruction.op_str.split(", ")
        if instruction.mnemonic in ("test", "cbz", "cbnz", "cmp") and operands[0] in held:
            return True
        if instruction.mnemonic == "mov" and len(operands) == 2 and operands[1] in held:
            held.add(operands[0])
        if leaves(instruction):
            return False
    return False
