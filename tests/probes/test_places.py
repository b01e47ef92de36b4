"""A bare number is given to bpftrace only where it can be read in one way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.binary.analysis import ANALYSIS, BinaryAnalysis, Found, ProbedFunction
from fleettrace.binary.cheapest import Instruction, InstructionCost
from fleettrace.binary.elf import Machine
from fleettrace.probes.attach_points import AttachPoints, find_attach_points

SPOT = Instruction(0x401200, 0x1200, 0, "push r15", InstructionCost.EMULATED, 0)
POINT = ProbedFunction("do_item_get", None, Found.LOCATED, SPOT.address, SPOT.file_offset, 64, SPOT, SPOT)
BARE = BinaryAnalysis(ANALYSIS, Machine.X86_64, None, None, None, (POINT,), (), {})


def placed(analysis: BinaryAnalysis, spot: Instruction, *, overlay: bool = False) -> AttachPoints | str:
    return find_attach_points(analysis, {"main": (replace(POINT, entry=spot, cheapest=spot), spot)}, overlay)


def test_a_bare_number_is_the_file_offset() -> None:
    found = placed(BARE, SPOT)
    assert isinstance(found, AttachPoints)
    assert found.places["main"].name == "0x1200"


@pytest.mark.parametrize(
    ("analysis", "spot"),
    [
        (BARE, replace(SPOT, file_offset=-1)),
        (replace(BARE, covered=(0x1200,)), SPOT),
        (replace(BARE, build_id="ab"), SPOT),
        (replace(BARE, debug_link="memcached.debug"), SPOT),
    ],
    ids=["offset-unknown", "covered-by-a-symbol", "debug-file-by-build-id", "debug-file-by-link"],
)
def test_a_number_that_can_be_read_in_two_ways_is_refused(analysis: BinaryAnalysis, spot: Instruction) -> None:
    assert isinstance(placed(analysis, spot), str)


def test_address_and_offset_that_agree_need_no_more_proof() -> None:
    found = placed(replace(BARE, build_id="ab"), replace(SPOT, address=0x1200))
    assert isinstance(found, AttachPoints)


def test_a_binary_without_a_build_id_gets_an_overlay() -> None:
    found = placed(BARE, SPOT, overlay=True)
    assert isinstance(found, AttachPoints)
    assert found.overlay is not None


def test_an_overlay_of_a_spot_outside_the_file_is_refused() -> None:
    assert isinstance(placed(BARE, replace(SPOT, file_offset=-1), overlay=True), str)
