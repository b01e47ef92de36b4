"""Follow values through one function: which registers and stack slots hold a given value at each instruction.

x86-64, System V ABI. An answer holds on every path that leads to the instruction; where paths differ, or an instruction
is not understood, the value is unknown. A slot is trusted only in a function that takes no address of its stack: then
nothing but instructions with the stack or frame pointer can change it. Slots that may be arguments of a called function
belong to that function (AMD64 supplement, 3.2.3) and are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

from fleettrace.binary.control_flow import ControlFlow
from fleettrace.binary.work import Work

__all__ = ["REGISTERS", "STACK", "ZERO", "Flow", "Location", "State", "Value", "flow_of_values", "merged_states"]

_NAMES = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
REGISTERS = {
    part: full for full in _NAMES for part in (f"r{full}", f"e{full}", full, f"{full[0]}l", f"{full}l", f"{full[0]}h")
} | {f"r{number}{part}": f"r{number}" for number in range(8, 16) for part in ("", "d", "w", "b")}
"""bpftrace's names of the registers, by the names of their parts."""
_VOLATILE = ("ax", "cx", "dx", "si", "di", "r8", "r9", "r10", "r11")
"""The registers that a call may change (AMD64 supplement, 3.2.1)."""
STACK = "stack"
"""The name of an address on the stack: `offset` bytes above the function's return address."""
ZERO = "zero"
"""The name of the constant 0."""
_WORD = 8
_READS_FIRST = ("cmp", "test", "push", "call", "jmp", "nop", "bt", "ucomiss", "ucomisd")
"""Instructions that do not change their first operand in memory."""
_BIT_STRINGS = ("bts", "btr", "btc")
_CHANGES_SECOND = ("xchg", "xadd", "cmpxchg")

Location = str | tuple[int, int]
"""A register, or a slot on the stack: its bytes above the return address, and its size."""


class Value(NamedTuple):
    """A value that is followed: its lowest `bits` bits are those of `name`, the others 0 or unknown."""

    name: str
    bits: int = 8 * _WORD
    offset: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What is known before an instruction."""

    values: dict[Location, Value]
    stored: frozenset[Location] = frozenset()
    """The slots written since the last call, on any path, that may be its arguments."""

    def stack_pointer(self) -> int | None:
        """Return the bytes from the return address up to the stack pointer (negative), or None."""
        return _stack_offset(self.values.get("sp"))

    def holders(self, name: str, bits: int) -> list[Location]:
        """Return where at least `bits` bits of a value are: registers first, then slots near the return address."""
        found = [at for at, value in self.values.items() if value.name == name and value.bits >= bits]
        return sorted(found, key=lambda at: (not isinstance(at, str), -at[0] if isinstance(at, tuple) else 0, str(at)))


def flow_of_values(
    flow: ControlFlow,
    start: int,
    values: dict[Location, Value],
    hook: int | None,
    work: Work,
    *,
    with_slots: bool = True,
) -> Flow:
    """Follow `values`, known before the instruction at `start`, through the function. `hook` is that of `Function`."""
    run = Flow(flow, hook, work, with_slots=with_slots)
    if not run.follow(start, values):
        run = Flow(flow, hook, work, with_slots=False)
        run.follow(start, values)
    return run


class Flow:
    """The states before each instruction that is reached."""

    def __init__(self, flow: ControlFlow, hook: int | None, work: Work, *, with_slots: bool) -> None:
        self._flow, self._hook, self._work, self.with_slots = flow, hook, work, with_slots
        self.before: dict[int, State] = {}
        self.slots: set[Location] = set()
        """Every slot that the function reads or writes as a value."""
        self._address_taken = False

    def follow(self, start: int, values: dict[Location, Value]) -> bool:
        """Compute the states; return whether slots can be trusted."""
        self.before = {start: State(values if self.with_slots else _registers(values))}
        waiting = [start]
        while waiting:
            address = waiting.pop()
            state = self._step(self._flow.code[address], self.before[address])
            for target in self._flow.following[address]:
                known = self.before.get(target)
                merged = state if known is None else _merge(known, state)
                self._address_taken |= _loses_address(merged, state, known)
                if known is None or merged != known:
                    self.before[target] = merged
                    waiting.append(target)
            if self._address_taken and self.with_slots:
                return False
        return True

    def _step(self, instruction: Any, before: State) -> State:
        """Return the state after one instruction."""
        import capstone

        self._work.spend(4 + (len(before.values) >> 2))
        values, stored = dict(before.values), set(before.stored)
        if instruction.group(capstone.CS_GRP_CALL):
            if instruction.address != self._hook:
                _call(values, stored)
            return State(values, frozenset() if instruction.address != self._hook else before.stored)
        slots = list(self._written_slots(instruction, before))
        self._address_taken |= _takes_address(instruction, before)
        pointer = _stack_pointer_after(instruction, before)
        moved = self._moved(instruction, before)
        for slot, passed in slots:
            _forget(values, slot)
            if passed:
                stored.add(slot)
        for register in _changed(instruction):
            values.pop(register, None)
        if pointer is not None:
            values["sp"] = Value(STACK, offset=pointer)
        if moved is not None:
            target, value = moved
            self._note(target, value)
            values[target] = value
        if "sp" not in values or not self.with_slots:
            values = _registers(values)
        return State(values, frozenset(stored))

    def _note(self, target: Location, value: Value) -> None:
        if isinstance(target, tuple):
            self.slots.add(target)
        if value.name == STACK and target not in ("sp", "bp"):
            self._address_taken = True

    def _written_slots(self, instruction: Any, before: State) -> Iterator[tuple[Location, bool]]:
        """Yield the slots that an instruction writes, and whether they may be arguments of the next call.

        Compilers address these by the stack pointer, and variables by the frame pointer if there is one.
        """
        import capstone

        name, pointer = instruction.mnemonic, before.stack_pointer()
        if name == "push" and pointer is not None:
            yield (pointer - _WORD, _WORD), True
        for index, operand in enumerate(instruction.operands):
            if operand.type != capstone.CS_OP_MEM or name == "lea":
                continue
            slot = _slot(instruction, operand, before)
            if slot is None:
                continue
            if operand.mem.index:
                self._address_taken = True
            self.slots.add(slot)
            if (index == 0 and name not in _READS_FIRST) or name in _CHANGES_SECOND:
                yield slot, instruction.reg_name(operand.mem.base) == "rsp"

    def _moved(self, instruction: Any, before: State) -> tuple[Location, Value] | None:
        """Return the place that an instruction copies a known value to, and the value; None for other instructions."""
        import capstone

        name, operands = instruction.mnemonic, instruction.operands
        if name == "push" and (pointer := before.stack_pointer()) is not None:
            value = _value(instruction, operands[0], before)
            return None if value is None else ((pointer - _WORD, _WORD), value)
        if name == "pop" and (pointer := before.stack_pointer()) is not None:
            value, register = before.values.get((pointer, _WORD)), _register(instruction, operands[0])
            return None if value is None or register is None else (register, value)
        if name == "lea":
            slot, register = _slot(instruction, operands[1], before), _register(instruction, operands[0])
            return None if slot is None or register is None else (register, Value(STACK, offset=slot[0]))
        if name == "and":
            return _masked(instruction, before)
        if name == "xor" and len({instruction.op_str.partition(", ")[0], instruction.op_str.partition(", ")[2]}) == 1:
            register = _register(instruction, operands[0])
            return (register, Value(ZERO)) if register is not None and operands[0].size >= 4 else None
        if name not in ("mov", "movabs", "movzx") or len(operands) != 2:
            return None
        target, source = operands
        value = _value(instruction, source, before)
        if value is None:
            return None
        if target.type == capstone.CS_OP_REG:
            register = _register(instruction, target)
            return (register, value) if register is not None and target.size >= 4 else None
        slot = _slot(instruction, target, before)
        return None if slot is None else (slot, value._replace(bits=min(value.bits, 8 * slot[1])))


def _register(instruction: Any, operand: Any) -> str | None:
    """Return the register of an operand; None if it is another one, or memory."""
    import capstone

    return REGISTERS.get(instruction.reg_name(operand.reg)) if operand.type == capstone.CS_OP_REG else None


def _masked(instruction: Any, before: State) -> tuple[Location, Value] | None:
    """Return what `and register, constant` leaves of a value: its lowest bits, if the constant has them."""
    import capstone

    target, mask = instruction.operands
    if target.type != capstone.CS_OP_REG or mask.type != capstone.CS_OP_IMM:
        return None
    value, register = _value(instruction, target, before), _register(instruction, target)
    ones = ((mask.imm + 1) & -(mask.imm + 1)).bit_length() - 1 if mask.imm >= 0 else 0
    if value is None or value.name == STACK or register is None or ones == 0:
        return None
    return register, value._replace(bits=min(value.bits, ones))


def _takes_address(instruction: Any, before: State) -> bool:
    """Return whether an address on the stack goes where it is not followed."""
    import capstone

    def of_stack(register: int) -> bool:
        name = REGISTERS.get(instruction.reg_name(register) or "", "")
        return _stack_offset(before.values.get(name)) is not None

    name, operands = instruction.mnemonic, instruction.operands
    memory = [each for each in operands if each.type == capstone.CS_OP_MEM]
    if any(each.mem.index and (of_stack(each.mem.index) or of_stack(each.mem.base)) for each in memory):
        return True
    # A bit string reaches beyond its operand.
    if name.removeprefix("lock ") in _BIT_STRINGS and any(of_stack(each.mem.base) for each in memory):
        return True
    if name == "lea":
        return of_stack(operands[1].mem.base) and instruction.reg_name(operands[0].reg) != "rsp"
    used = [each for each in operands if each.type == capstone.CS_OP_REG and of_stack(each.reg)]
    if not used or name in ("mov", "push", "pop", "cmp", "test"):
        return False  # `_note` sees copies, and a pop ends the use
    first = instruction.reg_name(operands[0].reg) if operands[0].type == capstone.CS_OP_REG else ""
    constant = len(operands) == 2 and operands[1].type == capstone.CS_OP_IMM
    return not (first == "rsp" and constant and name in ("add", "sub", "and"))


def _value(instruction: Any, operand: Any, before: State) -> Value | None:
    """Return the value that is read from a register or a slot."""
    import capstone

    if operand.type == capstone.CS_OP_IMM:
        return Value(ZERO) if operand.imm == 0 else None
    if operand.type == capstone.CS_OP_REG:
        name = instruction.reg_name(operand.reg)
        value = before.values.get(REGISTERS.get(name, ""))
        if value is None or name.endswith("h"):
            return None
        if value.name == STACK:
            return value if operand.size == _WORD else None
        return value._replace(bits=min(value.bits, 8 * operand.size))
    slot = _slot(instruction, operand, before) if operand.type == capstone.CS_OP_MEM else None
    if slot is None or operand.mem.index:
        return None
    for at, value in before.values.items():
        if isinstance(at, tuple) and at[0] == slot[0] and at[1] >= slot[1]:
            if value.name == STACK and slot[1] < _WORD:
                return None
            return value._replace(bits=min(value.bits, 8 * slot[1]))
    return None


def _slot(instruction: Any, operand: Any, before: State) -> tuple[int, int] | None:
    """Return the slot of a memory operand; None if it is not on the stack."""
    if not operand.mem.base:
        return None
    base = _stack_offset(before.values.get(REGISTERS.get(instruction.reg_name(operand.mem.base), "")))
    return None if base is None else (base + operand.mem.disp, operand.size)


def _stack_offset(value: Value | None) -> int | None:
    return value.offset if value is not None and value.name == STACK else None


def _stack_pointer_after(instruction: Any, before: State) -> int | None:
    """Return where the stack pointer is after an instruction that moves it by a constant; None for others."""
    import capstone

    name, pointer = instruction.mnemonic, before.stack_pointer()
    if name == "leave":
        frame = _stack_offset(before.values.get("bp"))
        return None if frame is None else frame + _WORD
    if pointer is None or not instruction.operands:
        return None
    if name in ("push", "pop"):
        return pointer + (_WORD if name == "pop" else -_WORD)
    first, *rest = instruction.operands
    if first.type == capstone.CS_OP_REG and instruction.reg_name(first.reg) == "rsp" and name in ("add", "sub"):
        [by] = rest
        if by.type == capstone.CS_OP_IMM:
            return pointer + int(by.imm if name == "add" else -by.imm)
    return None


def _call(values: dict[Location, Value], stored: set[Location]) -> None:
    """Forget what a called function may change: registers, the stack below, and its arguments on the stack."""
    for register in _VOLATILE:
        values.pop(register, None)
    pointer = _stack_offset(values.get("sp"))
    if pointer is None:
        for at in [at for at in values if isinstance(at, tuple)]:
            del values[at]
        return
    end = pointer
    while covering := [at for at in stored if isinstance(at, tuple) and at[0] <= end < at[0] + at[1]]:
        end = max(at[0] + at[1] for at in covering if isinstance(at, tuple))
        end = -(-end // _WORD) * _WORD
    for at in [at for at in values if isinstance(at, tuple) and at[0] < end]:
        del values[at]


def _changed(instruction: Any) -> set[str]:
    """Return the registers of which an instruction changes a part."""
    names = (instruction.reg_name(register) for register in instruction.regs_access()[1])
    return {REGISTERS[name] for name in names if name in REGISTERS}


def _forget(values: dict[Location, Value], slot: Location) -> None:
    """Forget the slots that overlap the written one."""
    assert isinstance(slot, tuple)
    start, end = slot[0], slot[0] + slot[1]
    for at in [at for at in values if isinstance(at, tuple) and at[0] < end and start < at[0] + at[1]]:
        del values[at]


def merged_states(states: Sequence[State]) -> State:
    """Return what holds in all of these states."""
    return reduce(_merge, states)


def _merge(one: State, other: State) -> State:
    """Return what holds on both paths."""
    common = {at: value for at, value in one.values.items() if other.values.get(at) == value}
    return replace(one, values=common, stored=one.stored | other.stored)


def _loses_address(merged: State, *paths: State | None) -> bool:
    """Return whether a register that has an address on the stack on one path is not followed after the paths meet."""
    return any(
        value.name == STACK and merged.values.get(at) != value
        for state in paths
        if state is not None
        for at, value in state.values.items()
        if isinstance(at, str)
    )


def _registers(values: dict[Location, Value]) -> dict[Location, Value]:
    return {at: value for at, value in values.items() if isinstance(at, str)}
