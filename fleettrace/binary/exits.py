"""Find an instruction of `do_item_get` at which one probe sees both a request and its result, hit or miss.

Every call must run the instruction exactly once, late enough for the result to be decided and early enough for the key,
its length and `do_update` to be still in some register or stack slot. The kernel must emulate it (see cheapest.py).
Shape: all paths of do_item_get meet before it returns, to log the fetch (LOGGER_LOG, or with -vvv; items.c), and a
conditional jump is there. Everything is derived from the control flow and the values on all paths. Where that is not
possible, the answer is None, and misses need a return probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleettrace.binary.cheapest import Instruction, InstructionCost, instruction_at
from fleettrace.binary.control_flow import ControlFlow, control_flow
from fleettrace.binary.dataflow import REGISTERS, STACK, Flow, Location, State, Value, flow_of_values
from fleettrace.binary.elf import BinaryError, Elf, Machine
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import ARGUMENTS
from fleettrace.binary.references import References
from fleettrace.binary.unwind import return_address_slot
from fleettrace.binary.usdt import Operand

__all__ = ["Exit", "find_exit", "stored_exit"]

_KEY, _LENGTH, _FLAG, _FRAME = "key", "length", "flag", "frame"
_NAMES = {0: _KEY, 1: _LENGTH, 4: _FLAG}
"""The followed arguments of do_item_get(key, nkey, hv, thread, do_update)."""
_SIZES = {_KEY: 8, _LENGTH: 4, _FLAG: 1, _FRAME: 8}
"""The bytes of each that a program needs: a key has up to 250 bytes, and do_update is 0 or 1."""
_MAX_CANDIDATES = 12
_MAX_DISPLACEMENT = 1 << 16
_JUMPS = ("push", "j")
"""The emulated instructions to use: not a call (probes/shadow_stacks.py), not a nop (probes/optimized_uprobes.py)."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The instruction, and where the request and its result are when it runs.

    `flag` is do_update and `frame` the caller's frame pointer, each None if lost. The result is the address of an item,
    or 0 for a miss.
    """

    instruction: Instruction
    key: Operand
    length: Operand
    flag: Operand | None
    frame: Operand | None
    result: Operand


def find_exit(references: References, function: Function) -> Exit | None:
    """Return the exit of do_item_get (`function`), or None. x86-64 only."""
    if references.elf.machine is not Machine.X86_64:
        return None
    graph = control_flow(references, function)
    if graph is None:
        return None
    arguments = ARGUMENTS[references.elf.machine]
    known: dict[Location, Value] = {REGISTERS[arguments[index][0]]: Value(name) for index, name in _NAMES.items()}
    known |= {"sp": Value(STACK), "bp": Value(_FRAME)}
    entry = flow_of_values(graph, function.start, known, function.hook, references.elf.work)
    for candidate in list(_candidates(references.elf, function, graph))[-_MAX_CANDIDATES:][::-1]:
        found = _exit(references.elf, function, graph, entry, candidate)
        if found is not None:
            return found
    return None


def stored_exit(value: dict[str, object]) -> Exit:
    """Return the exit that `dataclasses.asdict` turned into `value`. Raises `BinaryError`, `KeyError`, `TypeError`."""
    fields: dict[str, Operand | None] = {
        name: None if value[name] is None else Operand(**value[name])  # type: ignore[arg-type]
        for name in (_KEY, _LENGTH, _FLAG, _FRAME, "result")
    }
    for name, operand in fields.items():
        if operand is None:
            if name not in (_FLAG, _FRAME):
                raise BinaryError(f"a stored exit without its {name}")
        elif (
            operand.register not in set(REGISTERS.values())
            or operand.size not in (1, 2, 4, 8)
            or type(operand.memory) is not bool
            or type(operand.displacement) is not int
            or abs(operand.displacement) > _MAX_DISPLACEMENT
        ):
            raise BinaryError(f"a stored exit with an impossible {name}")
    given: dict[str, object] = dict(value["instruction"])  # type: ignore[call-overload]
    instruction = Instruction(**given | {"cost": InstructionCost(given["cost"])})  # type: ignore[arg-type]
    return Exit(instruction, **fields)  # type: ignore[arg-type]


def _candidates(elf: Elf, function: Function, graph: ControlFlow) -> Iterator[Instruction]:
    """Yield the emulated instructions that every call which returns runs exactly once, first one first."""
    for address in graph.some_path():
        mnemonic = graph.code[address].mnemonic
        if not function.start < address < function.end or not mnemonic.startswith(_JUMPS):
            continue
        instruction = instruction_at(elf, address)
        if instruction is None or instruction.cost is not InstructionCost.EMULATED or instruction.is_nop5:
            continue
        if graph.reachable([graph.start], without=address) & graph.returns:
            continue
        if address in graph.reachable(graph.following[address]):
            continue
        yield instruction


def _exit(elf: Elf, function: Function, graph: ControlFlow, entry: Flow, candidate: Instruction) -> Exit | None:
    """Return the exit at an instruction; None if its values are not known there."""
    address = candidate.address
    state = entry.before.get(address)
    pointer = None if state is None else state.stack_pointer()
    if state is None or pointer is None or pointer > 0:
        return None
    unwind = function.unwind
    slot = None if unwind is None else return_address_slot(elf.machine, unwind, function.start, address)
    if slot is not None and slot != -pointer:
        return None
    places = {name: _place(state, name, size, pointer) for name, size in _SIZES.items()}
    result = _result(elf, function, graph, entry, address)
    key, length = places[_KEY], places[_LENGTH]
    if key is None or length is None or result is None:
        return None
    code = elf.read(function.start, address - function.start + len(candidate.encoding))
    instruction = replace(
        candidate, offset=address - function.start, return_offset=-pointer, code=code.hex(), caller_frame=False
    )
    return Exit(instruction, key, length, places[_FLAG], places[_FRAME], _operand(result, 8, pointer))


def _place(state: State, name: str, size: int, pointer: int) -> Operand | None:
    for at in state.holders(name, size):
        value = state.values[at]
        if abs(pointer) < _MAX_DISPLACEMENT:
            return _operand(at, value.size if isinstance(at, str) else size, pointer)
    return None


def _operand(at: Location, size: int, pointer: int) -> Operand:
    if isinstance(at, str):
        return Operand(size, at)
    return Operand(size, "sp", at[0] - pointer, memory=True)


def _result(elf: Elf, function: Function, graph: ControlFlow, entry: Flow, address: int) -> Location | None:
    """Return the register or slot that, at `address`, has what the function will return on every path from there."""
    here = entry.before[address].values
    unknown: dict[Location, Value] = {}
    every: list[Location] = [*dict.fromkeys(REGISTERS.values()), *entry.slots]
    names: dict[str, Location] = {}
    for at in every:
        size = 8 if isinstance(at, str) else at[1]
        if (isinstance(at, tuple) and size != 8) or (at in ("sp", "bp") and at in here and here[at].name == STACK):
            continue
        names[f"result in {at}"] = at
        unknown[at] = Value(f"result in {at}", size)
    frame: dict[Location, Value] = {at: here[at] for at in ("sp", "bp") if at in here and here[at].name == STACK}
    later = flow_of_values(graph, address, {**unknown, **frame}, function.hook, elf.work)
    ends = {later.before[end].values.get("ax") for end in graph.returns if end in later.before}
    if len(ends) != 1:
        return None
    [end] = ends
    return None if end is None or end.size < 8 else names.get(end.name)
