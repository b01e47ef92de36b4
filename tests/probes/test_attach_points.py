"""Attach points: bpftrace is given a bare number only where the number is unambiguous."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.binary.analysis import ANALYSIS, BinaryAnalysis, Found, ProbedFunction
from fleettrace.binary.cheapest import Instruction, InstructionCost
from fleettrace.binary.elf import Machine
from fleettrace.probes.attach_points import AttachPoints, find_attach_points
from fleettrace.probes.model import UnsupportedError

INSTRUCTION = Instruction(0x401200, 0x1200, 0, "push r15", InstructionCost.EMULATED, 0)
FUNCTION = ProbedFunction(
    "do_item_get", None, Found.LOCATED, INSTRUCTION.address, INSTRUCTION.file_offset, 64, INSTRUCTION, INSTRUCTION
)
BARE = BinaryAnalysis(ANALYSIS, Machine.X86_64, None, None, None, (FUNCTION,), (), {})


def attach_points(analysis: BinaryAnalysis, instruction: Instruction, *, overlay: bool = False) -> AttachPoints:
    function = replace(FUNCTION, entry=instruction, cheapest=instruction)
    return find_attach_points(analysis, {"main": (function, instruction)}, overlay)


def test_bare_number_is_the_file_offset() -> None:
    assert attach_points(BARE, INSTRUCTION).by_name["main"].name == "0x1200"


@pytest.mark.parametrize(
    ("analysis", "instruction"),
    [
        (BARE, replace(INSTRUCTION, file_offset=-1)),
        (replace(BARE, covered=(0x1200,)), INSTRUCTION),
        (replace(BARE, build_id="ab"), INSTRUCTION),
        (replace(BARE, debug_link="memcached.debug"), INSTRUCTION),
    ],
    ids=["offset-unknown", "covered-by-a-symbol", "debug-file-by-build-id", "debug-file-by-link"],
)
def test_ambiguous_number_is_refused(analysis: BinaryAnalysis, instruction: Instruction) -> None:
    with pytest.raises(UnsupportedError):
        attach_points(analysis, instruction)


def test_number_equal_to_the_address_is_accepted() -> None:
    found = attach_points(replace(BARE, build_id="ab"), replace(INSTRUCTION, address=0x1200))
    assert found.by_name["main"].name == "0x1200"


def test_binary_without_build_id_gets_an_overlay() -> None:
    assert attach_points(BARE, INSTRUCTION, overlay=True).overlay is not None


def test_overlay_of_unknown_file_offset_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        attach_points(BARE, replace(INSTRUCTION, file_offset=-1), overlay=True)
