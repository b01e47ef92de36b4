"""Read the control flow of one function: its instructions on every path, and which may follow which.

x86-64. A function that continues at an address in a register, ends in a jump to another function, or can be entered
elsewhere than at its beginning has no complete control flow here: the answer is None.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import disassemble, leaves
from fleettrace.binary.references import MAX_INSIDE, Reference, References
from fleettrace.binary.work import Work

__all__ = ["ControlFlow", "control_flow"]

MAX_INSTRUCTIONS = 4000
"""Instructions of one function; do_item_get has 150 to 1,500 (with the address sanitizer)."""
_ENDS = ("ud2", "hlt", "int3")
"""Instructions after which the function does not continue."""


@dataclass(slots=True)
class ControlFlow:
    """The instructions of a function by address, the addresses that may follow each, and its return instructions."""

    start: int
    work: Work
    code: dict[int, Any] = field(default_factory=dict)
    following: dict[int, tuple[int, ...]] = field(default_factory=dict)
    returns: set[int] = field(default_factory=set)

    def reachable(self, starts: Collection[int], without: Collection[int] = ()) -> set[int]:
        """Return the addresses that can run from `starts` on, on paths that do not pass any of `without`."""
        waiting = [start for start in starts if start not in without]
        seen = set(waiting)
        while waiting:
            self.work.spend()
            for address in self.following[waiting.pop()]:
                if address not in seen and address not in without:
                    seen.add(address)
                    waiting.append(address)
        return seen

    def before_returns(self) -> list[int]:
        """Return the addresses from which a return can be reached, by the number of instructions up to it."""
        before: dict[int, list[int]] = {}
        for address, targets in self.following.items():
            for target in targets:
                before.setdefault(target, []).append(address)
        found = sorted(self.returns)
        seen = set(found)
        for address in found:
            fresh = [each for each in before.get(address, ()) if each not in seen]
            seen.update(fresh)
            found += fresh
        return found


def control_flow(references: References, function: Function, work: Work) -> ControlFlow | None:
    """Return the complete control flow of a function, with the part that a compiler split off; None if unknown."""
    if function.unwind is None and function.name is None:
        return None  # where it ends is a guess
    flow = ControlFlow(function.start, work)
    waiting = [function.start]
    parts = {function.start}
    while waiting:
        address = waiting.pop()
        if address in flow.code:
            continue
        part = references.functions.at(address)
        if part is None or references.owner_of(part.start) != function.start:
            return None
        parts.add(part.start)
        targets = _read_block(references, flow, address, part.end)
        if targets is None or len(flow.code) > MAX_INSTRUCTIONS:
            return None
        waiting += targets
    entered = any(
        len(references.inside(start)) == MAX_INSIDE
        or any(_enters(references, flow, reference) for reference in references.inside(start))
        for start in parts
    )
    complete = all(address in flow.code for targets in flow.following.values() for address in targets)
    # The breakpoint on an instruction inside another one would change that one.
    apart = all(one + flow.code[one].size <= other for one, other in pairwise(sorted(flow.code)))
    return flow if complete and apart and not entered and flow.returns else None


def _enters(references: References, flow: ControlFlow, reference: Reference) -> bool:
    """Return whether another function continues in this one; not where other instructions only resemble a jump."""
    if reference.address in flow.code:
        return False
    source = references.functions.at(reference.address)
    if source is None:
        return True
    for instruction in disassemble(references.elf, source.start, source.end):
        if instruction.address == reference.address:
            return True
        if instruction.address > reference.address:
            return False
    return True


def _read_block(references: References, flow: ControlFlow, start: int, end: int) -> list[int] | None:
    """Read instructions up to one after which control does not continue; return the targets of their jumps.

    Returns None for an instruction that continues at an unknown address.
    """
    targets: list[int] = []
    for instruction in disassemble(references.elf, start, end):
        address = instruction.address
        if address in flow.code:
            return targets
        flow.code[address] = instruction
        after = address + instruction.size
        following = _following(instruction, after)
        if following is None:
            return None
        if instruction.mnemonic == "call" and after >= end:
            following = ()  # the called function does not return
        if not following and instruction.mnemonic.endswith("ret"):
            flow.returns.add(address)
        flow.following[address] = following
        targets += [target for target in following if target != after]
        if after not in following:
            return targets
        if after >= end:
            return None
    return None


def _following(instruction: Any, after: int) -> tuple[int, ...] | None:
    """Return the addresses that may follow an instruction; None where one is unknown."""
    import capstone

    if instruction.mnemonic in _ENDS or instruction.group(capstone.CS_GRP_RET):
        return ()
    if instruction.group(capstone.CS_GRP_JUMP):
        [operand] = instruction.operands
        if operand.type != capstone.CS_OP_IMM:
            return None
        return (operand.imm,) if instruction.mnemonic == "jmp" else (after, operand.imm)
    if instruction.group(capstone.CS_GRP_CALL) or not leaves(instruction):
        return (after,)
    return None
