"""A static probe's argument as bpftrace reads it: through its registers, wherever the compiler left it."""

from __future__ import annotations

from fleettrace.binary.usdt import Operand

__all__ = ["expression"]


def expression(operand: Operand | None) -> str | None:
    """The bpftrace expression for the argument, as an unsigned number; None where it cannot be had."""
    if operand is None or operand.register is None:
        return None
    value = f'reg("{operand.register}")'
    if operand.memory:
        return f"(uint64)*(uint{8 * operand.size}*)({value} + {operand.displacement})"
    return value if operand.size == 8 else f"({value} & {(1 << 8 * operand.size) - 1:#x})"
