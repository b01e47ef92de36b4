"""The choice of the probed instruction, in code written byte by byte."""

from __future__ import annotations

import pytest

from fleettrace.binary.cheapest import InstructionCost, cheapest_instruction, predicted_microseconds
from fleettrace.binary.elf import Elf, Machine, Segment
from fleettrace.binary.functions import Function

BASE = 0x1000
ENDBR, PUSH_RBP, PUSH_R15, RET, NOP = "f30f1efa", "55", "4157", "c3", "90"
MOV_RBX_RDI, MOV_RDI_RBX, SUB_RSP_24, XOR_EDI = "4889fb", "4889df", "4883ec18", "31ff"
STP, BTI_C, MOV_X19_X0, ADRP_X2, ADRP_X0, NOP_ARM = (
    "fd7bbea9",
    "5f2403d5",
    "f30300aa",
    "02000090",
    "00000090",
    "1f2003d5",
)


def chosen(machine: Machine, *code: str, arguments: int = 2) -> tuple[int, InstructionCost, int | None]:
    data = bytes.fromhex("".join(code))
    elf = Elf(data, machine, 3, (Segment(1, 5, 0, BASE, len(data)),), ())
    found = cheapest_instruction(elf, Function(BASE, BASE + len(data), None, None), arguments)
    assert found is not None
    return found.offset, found.cost, found.return_offset


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ((PUSH_RBP, RET), (0, InstructionCost.EMULATED, 0)),
        ((NOP, RET), (0, InstructionCost.EMULATED, 0)),
        ((ENDBR, PUSH_R15, RET), (4, InstructionCost.EMULATED, 0)),
        ((ENDBR, MOV_RBX_RDI, PUSH_RBP, RET), (7, InstructionCost.EMULATED, 0)),
        ((SUB_RSP_24, PUSH_RBP, RET), (4, InstructionCost.EMULATED, 24)),
        ((ENDBR, "e900000000"), (4, InstructionCost.EMULATED, 0)),
        ((ENDBR, "e800000000", PUSH_RBP), (4, InstructionCost.EMULATED, 0)),
    ],
)
def test_first_emulated_instruction_is_chosen(
    code: tuple[str, ...], expected: tuple[int, InstructionCost, int]
) -> None:
    assert chosen(Machine.X86_64, *code) == expected


@pytest.mark.parametrize(
    "code",
    [
        (ENDBR, MOV_RDI_RBX, PUSH_RBP, RET),
        (ENDBR, XOR_EDI, PUSH_RBP, RET),
        (ENDBR, RET, PUSH_RBP),
        (ENDBR, "ffe0", PUSH_RBP),
        (ENDBR, PUSH_RBP, "ebfd"),
        (ENDBR, MOV_RBX_RDI, RET),
        (ENDBR, "6690", RET),
    ],
    ids=[
        "an argument is overwritten",
        "an argument is cleared",
        "the function has returned",
        "an indirect jump leads away",
        "a loop leads back onto it",
        "nothing is emulated",
        "a prefixed nop, which older kernels refuse",
    ],
)
def test_entry_is_chosen_otherwise(code: tuple[str, ...]) -> None:
    assert chosen(Machine.X86_64, *code) == (0, InstructionCost.STEPPED, 0)


def test_only_requested_arguments_must_be_unchanged() -> None:
    code = (ENDBR, "31d2", PUSH_RBP, RET)  # xor edx, edx: the third argument
    assert chosen(Machine.X86_64, *code, arguments=2) == (6, InstructionCost.EMULATED, 0)
    assert chosen(Machine.X86_64, *code, arguments=3) == (0, InstructionCost.STEPPED, 0)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ((BTI_C, STP, MOV_X19_X0, ADRP_X2), (12, InstructionCost.EMULATED, None)),
        ((STP, ADRP_X0), (4, InstructionCost.EMULATED, None)),
        ((STP, NOP_ARM, "c0035fd6"), (8, InstructionCost.EMULATED, None)),
        ((BTI_C, "600000b4", ADRP_X2, ADRP_X2), (4, InstructionCost.EMULATED, None)),
        ((STP, NOP_ARM, NOP_ARM), (0, InstructionCost.STEPPED, None)),
    ],
)
def test_aarch64_simulated_instruction_is_chosen(
    code: tuple[str, ...], expected: tuple[int, InstructionCost, None]
) -> None:
    assert chosen(Machine.AARCH64, *code) == expected


def test_overwritten_argument_ends_the_walk_on_aarch64() -> None:
    assert chosen(Machine.AARCH64, STP, "e00301aa", ADRP_X2) == (0, InstructionCost.STEPPED, None)


def test_costs_are_predicted_only_where_measured() -> None:
    stepped, emulated = (
        predicted_microseconds(Machine.X86_64, cost) for cost in (InstructionCost.STEPPED, InstructionCost.EMULATED)
    )
    assert stepped is not None
    assert emulated is not None
    assert stepped > 5 * emulated
    assert predicted_microseconds(Machine.AARCH64, InstructionCost.STEPPED) is None


@pytest.mark.parametrize(
    ("hook", "expected"),
    [(BASE + 4, (10, InstructionCost.EMULATED, 0)), (None, (0, InstructionCost.STEPPED, 0))],
    ids=["profiler", "other"],
)
def test_only_a_profiler_call_preserves_arguments(hook: int | None, expected: object) -> None:
    data = bytes.fromhex(ENDBR + "ff1500000000" + PUSH_RBP + RET)
    elf = Elf(data, Machine.X86_64, 3, (Segment(1, 5, 0, BASE, len(data)),), ())
    found = cheapest_instruction(elf, Function(BASE, BASE + len(data), None, None, hook), 2)
    assert found is not None
    assert (found.offset, found.cost, found.return_offset) == expected
