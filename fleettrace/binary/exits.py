"""Find an instruction of `do_item_get` at which one probe sees both a request and its result, hit or miss.

Every call must run the instruction exactly once, late enough for the result to be decided and early enough for the key,
its length and `do_update` to be still in some register or stack slot. The kernel must emulate it (see cheapest.py).
Shape: all paths of do_item_get meet before it returns, to log the fetch (LOGGER_LOG, or with -vvv; items.c), and a
conditional jump is there. Everything is derived from the control flow and the values on all paths. Where that is not
possible, the answer is None, and misses need a return probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from fleettrace.binary.cheapest import Instruction, InstructionCost, instruction_at
from fleettrace.binary.control_flow import ControlFlow, control_flow
from fleettrace.binary.dataflow import (
    REGISTERS,
    STACK,
    ZERO,
    Flow,
    Location,
    State,
    Value,
    flow_of_values,
    merged_states,
)
from fleettrace.binary.elf import BinaryError, Elf, Machine
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS
from fleettrace.binary.overlay import SYMBOL_SIZE
from fleettrace.binary.references import References
from fleettrace.binary.unwind import return_address_slot
from fleettrace.binary.usdt import Operand
from fleettrace.binary.work import ExhaustedError, Work

__all__ = ["Exit", "find_exit", "stored_exit"]

_KEY, _LENGTH, _THREAD, _FLAG, _FRAME = "key", "length", "thread", "flag", "frame"
_NAMES = {0: _KEY, 1: _LENGTH, 3: _THREAD, 4: _FLAG}
"""The followed arguments of do_item_get(key, nkey, hv, thread, do_update)."""
_BITS = {_KEY: 64, _LENGTH: 32, _THREAD: 64, _FLAG: 1, _FRAME: 64}
"""The lowest bits of each that a program needs: a key has up to 250 bytes, and do_update is 0 or 1."""
_MAX_STEPS = 400_000
"""Steps of the search; gcc's and clang's builds need some 20,000."""
_MAX_CANDIDATES = 48
_MAX_COPIES = 6
_MAX_DISPLACEMENT = 1 << 16
_RED_ZONE = 128
_NOTHING = Operand(8, None)
"""The result on a path where it is always 0."""
_JUMPS = ("push", "j")
"""The emulated instructions to use: not a call (probes/shadow_stacks.py), not a nop (probes/optimized_uprobes.py)."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The instructions, of which each call runs one, and where the request and its result are when it runs.

    `thread` is the fourth argument (descriptors.py), `flag` do_update and `frame` the caller's frame pointer, each None
    if lost. `results` has the result at each instruction: the address of an item, or 0 for a miss.
    """

    instructions: tuple[Instruction, ...]
    key: Operand
    length: Operand
    thread: Operand | None
    flag: Operand | None
    frame: Operand | None
    results: tuple[Operand, ...]


def find_exit(references: References, function: Function) -> Exit | None:
    """Return the exit of do_item_get (`function`), or None. x86-64 only."""
    if references.elf.machine is not Machine.X86_64:
        return None
    work = Work(_MAX_STEPS)
    try:
        graph = control_flow(references, function, work)
        found = [] if graph is None else list(_exits(references.elf, function, graph, work))
    except ExhaustedError:
        return None
    # With do_update more kinds of requests are recognized; each further copy takes bpftrace time to attach.
    return min(found, key=lambda each: (each.flag is None, each.thread is None, len(each.instructions)), default=None)


def stored_exit(value: dict[str, Any]) -> Exit:
    """Return the exit that `dataclasses.asdict` turned into `value`. Raises `BinaryError`, `KeyError`, `TypeError`."""
    given: list[dict[str, Any]] = value["instructions"]
    instructions = tuple(Instruction(**each | {"cost": InstructionCost(each["cost"])}) for each in given)
    key, length = (_stored_operand(value[name]) for name in (_KEY, _LENGTH))
    thread, flag, frame = (
        None if value[name] is None else _stored_operand(value[name]) for name in (_THREAD, _FLAG, _FRAME)
    )
    results = tuple(_NOTHING if each["register"] is None else _stored_operand(each) for each in value["results"])
    if not instructions or len(instructions) != len(results) or len({each.return_offset for each in instructions}) > 1:
        raise BinaryError("a stored exit with instructions or results that do not agree")
    return Exit(instructions, key, length, thread, flag, frame, results)


def _stored_operand(value: dict[str, Any]) -> Operand:
    """Return the operand: a register's name goes into a program. Raises `BinaryError` for an impossible one."""
    operand = Operand(**value)
    if (
        operand.register not in set(REGISTERS.values())
        or operand.size not in (1, 2, 4, 8)
        or type(operand.memory) is not bool
        or type(operand.displacement) is not int
        or abs(operand.displacement) > _MAX_DISPLACEMENT
    ):
        raise BinaryError("a stored exit with an impossible operand")
    return operand


def _exits(elf: Elf, function: Function, graph: ControlFlow, work: Work) -> Iterator[Exit]:
    """Yield sets of instructions of which each call runs exactly one, with the request in the same places."""
    arguments = ARGUMENTS[elf.machine]
    known: dict[Location, Value] = {REGISTERS[arguments[index][0]]: Value(name) for index, name in _NAMES.items()}
    known |= {"sp": Value(STACK), "bp": Value(_FRAME)}
    entry = flow_of_values(graph, function.start, known, function.hook, work)
    results: dict[int, Operand] = {}
    groups: dict[int, list[Instruction]] = {}
    for candidate in _candidates(elf, function, graph, entry):
        pointer = entry.before[candidate.address].stack_pointer()
        result = _result(function, graph, entry, candidate.address, work)
        if pointer is not None and result is not None:
            results[candidate.address] = _NOTHING if result == ZERO else _operand(result, 64, pointer)
            groups.setdefault(pointer, []).append(candidate)
    for pointer, group in groups.items():
        for cut in _cuts(graph, {each.address for each in group}):
            chosen = [each for each in group if each.address in cut]
            if len(chosen) > _MAX_COPIES or _too_near(chosen):
                continue
            merged = merged_states([entry.before[each.address] for each in chosen])
            key, length, thread, flag, frame = (_place(merged, name, bits, pointer) for name, bits in _BITS.items())
            if key is not None and length is not None:
                instructions = tuple(_complete(elf, function, each, pointer) for each in chosen)
                found = tuple(results[each.address] for each in chosen)
                yield Exit(instructions, key, length, thread, flag, frame, found)


def _cuts(graph: ControlFlow, addresses: set[int]) -> Iterator[set[int]]:
    """Yield sets of these addresses of which each path from the entry to a return has exactly one, the last ones first.

    A path cannot have two of those that lead to no other one. Where it can have none, it passes one that leads to some
    of them and also around all of them: that one is taken instead of these.
    """
    later = {each: graph.reachable(graph.following[each]) for each in addresses}
    left = {each for each in addresses if each not in later[each]}
    while left:
        last = {each for each in left if not later[each] & left}
        if not graph.reachable([graph.start], without=last) & graph.returns:
            yield last
            left = left - last
            continue
        around = {each for each in left - last if graph.reachable(graph.following[each], without=last) & graph.returns}
        nearest = {each for each in around if not later[each] & around}
        left = left - set().union(*(later[each] & last for each in nearest))
        if not nearest:
            return


def _candidates(elf: Elf, function: Function, graph: ControlFlow, entry: Flow) -> Iterator[Instruction]:
    """Yield the emulated instructions where a request is still known, the ones near a return first."""
    found = 0
    for address in graph.before_returns():
        state, mnemonic = entry.before.get(address), graph.code[address].mnemonic
        if state is None or not function.start < address < function.end or not mnemonic.startswith(_JUMPS):
            continue
        instruction = instruction_at(elf, address)
        if instruction is None or instruction.cost is not InstructionCost.EMULATED or instruction.is_nop5:
            continue
        if all(state.holders(name, _BITS[name]) for name in (_KEY, _LENGTH)) and _agrees(elf, function, state, address):
            yield instruction
            found += 1
        if found == _MAX_CANDIDATES:
            return


def _agrees(elf: Elf, function: Function, state: State, address: int) -> bool:
    """Return whether the stack pointer is known, and the unwind table does not contradict it."""
    pointer, unwind = state.stack_pointer(), function.unwind
    if pointer is None or not -_MAX_DISPLACEMENT < pointer <= 0:
        return False
    slot = None if unwind is None else return_address_slot(elf.machine, unwind, function.start, address)
    return slot is None or slot == -pointer


def _too_near(instructions: Sequence[Instruction]) -> bool:
    """Return whether the symbols of an overlay would overlap."""
    addresses = sorted(each.address for each in instructions)
    return any(after - before < SYMBOL_SIZE for before, after in pairwise(addresses))


def _complete(elf: Elf, function: Function, instruction: Instruction, pointer: int) -> Instruction:
    offset = instruction.address - function.start
    code = elf.read(function.start, offset + len(instruction.encoding)).hex()
    return replace(instruction, offset=offset, return_offset=-pointer, code=code)


def _place(state: State, name: str, bits: int, pointer: int) -> Operand | None:
    """Return the operand that holds at least the lowest `bits` bits of a value."""
    # A signal handler may overwrite what is more than 128 bytes below the stack pointer (AMD64 supplement, 3.2.2).
    found = [at for at in state.holders(name, bits) if isinstance(at, str) or at[0] >= pointer - _RED_ZONE]
    if not found:
        return None
    return _operand(found[0], state.values[found[0]].bits if isinstance(found[0], str) else bits, pointer)


def _operand(at: Location, bits: int, pointer: int) -> Operand:
    size = next(size for size in (8, 4, 2, 1) if size == 1 or 8 * size <= bits)
    if isinstance(at, str):
        return Operand(size, at)
    return Operand(size, "sp", at[0] - pointer, memory=True)


def _result(function: Function, graph: ControlFlow, entry: Flow, address: int, work: Work) -> Location | None:
    """Return the register or slot that, at `address`, has what the function will return on every path from there.

    ZERO where it will return 0 on every path.
    """
    here = entry.before[address].values
    unknown: dict[Location, Value] = {}
    every: list[Location] = [*dict.fromkeys(REGISTERS.values()), *entry.slots]
    names: dict[str, Location] = {}
    for at in every:
        if (isinstance(at, tuple) and at[1] != 8) or (at in ("sp", "bp") and at in here and here[at].name == STACK):
            continue
        names[f"result in {at}"] = at
        unknown[at] = Value(f"result in {at}")
    frame: dict[Location, Value] = {at: here[at] for at in ("sp", "bp") if at in here and here[at].name == STACK}
    later = flow_of_values(graph, address, {**unknown, **frame}, function.hook, work, with_slots=entry.with_slots)
    ends = {later.before[end].values.get("ax") for end in graph.returns if end in later.before}
    if len(ends) != 1:
        return None
    [end] = ends
    if end is None or end.bits < 64:
        return None
    return ZERO if end.name == ZERO else names.get(end.name)
