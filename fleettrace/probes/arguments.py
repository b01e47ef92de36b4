"""The bpftrace expression that reads a static probe's argument from its register or from memory."""

from __future__ import annotations

from fleettrace.binary.usdt import Operand

__all__ = ["expression"]


def expression(operand: Operand | None) -> str | None:
    """Return the bpftrace expression for the argument, as an unsigned number; None where bpftrace cannot read it."""
    if operand is None or operand.register is None:
        return None
    value = f'reg("{operand.register}")'
    if operand.memory:
        return f"(uint64)*(uint{8 * operand.size}*)({value} + {operand.displacement})"
    return value if operand.size == 8 else f"({value} & {(1 << 8 * operand.size) - 1:#x})"
