"""The one value about a binary: what it holds, and that it survives being kept."""

from __future__ import annotations

import json

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, Found, analyse
from fleettrace.binary.cheapest import InstructionCost
from fleettrace.binary.elf import BinaryError
from tests.binary.builds import build


def test_an_unstripped_binary_gives_its_points_by_symbol() -> None:
    analysis = analyse(build("plain").read_bytes())
    point = analysis.point("do_item_get")
    assert point is not None
    assert (point.symbol, point.found, point.entry) == ("do_item_get", Found.SYMTAB, point.cheapest)
    assert analysis.version is not None
    assert analysis.version.startswith("1.")
    assert len(analysis.build_id or "") == 40


def test_control_flow_protection_moves_the_probe_past_the_dear_first_instruction() -> None:
    point = analyse(build("cf-protection").read_bytes()).point("do_item_get")
    assert point is not None
    assert (point.entry.instruction, point.entry.cost) == ("endbr64", InstructionCost.STEPPED)
    assert (point.cheapest.offset, point.cheapest.cost, point.cheapest.return_offset) == (
        4,
        InstructionCost.EMULATED,
        0,
    )


def test_an_analysis_survives_json() -> None:
    analysis = analyse(build("plain").read_bytes())
    assert BinaryAnalysis.from_dict(json.loads(json.dumps(analysis.to_dict()))) == analysis


def test_an_analysis_of_another_version_is_refused() -> None:
    kept = analyse(build("plain").read_bytes()).to_dict() | {"analysis": 0}
    with pytest.raises(BinaryError, match="version 0"):
        BinaryAnalysis.from_dict(kept)


@pytest.mark.parametrize("damage", [{"points": [{}]}, {"machine": "pdp11"}, {"call_sites": 3}, {"extra": 1}])
def test_a_damaged_analysis_is_refused(damage: dict[str, object]) -> None:
    kept = analyse(build("plain").read_bytes()).to_dict() | damage
    with pytest.raises(BinaryError, match="damaged"):
        BinaryAnalysis.from_dict(kept)
