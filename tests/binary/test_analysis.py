"""The analysis of a binary, and its conversion to JSON and back."""

from __future__ import annotations

import json

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, Found, analyse
from fleettrace.binary.cheapest import InstructionCost
from fleettrace.binary.elf import BinaryError
from tests.binary.builds import build


def test_unstripped_binary_has_functions_by_symbol() -> None:
    analysis = analyse(build("plain").read_bytes())
    function = analysis.function("do_item_get")
    assert function is not None
    assert (function.symbol, function.found, function.entry) == ("do_item_get", Found.SYMTAB, function.cheapest)
    assert analysis.version is not None
    assert analysis.version.startswith("1.")
    assert len(analysis.build_id or "") == 40


def test_cheapest_instruction_follows_endbr64() -> None:
    function = analyse(build("cf-protection").read_bytes()).function("do_item_get")
    assert function is not None
    assert (function.entry.text, function.entry.cost) == ("endbr64", InstructionCost.STEPPED)
    assert (function.cheapest.offset, function.cheapest.cost, function.cheapest.return_offset) == (
        4,
        InstructionCost.EMULATED,
        0,
    )


def test_analysis_survives_json() -> None:
    analysis = analyse(build("plain").read_bytes())
    assert BinaryAnalysis.from_dict(json.loads(json.dumps(analysis.to_dict()))) == analysis


def test_from_dict_refuses_another_version() -> None:
    stored = analyse(build("plain").read_bytes()).to_dict() | {"analysis": 0}
    with pytest.raises(BinaryError, match="version 0"):
        BinaryAnalysis.from_dict(stored)


@pytest.mark.parametrize("damage", [{"functions": [{}]}, {"machine": "pdp11"}, {"call_sites": 3}, {"extra": 1}])
def test_from_dict_refuses_damaged_analysis(damage: dict[str, object]) -> None:
    stored = analyse(build("plain").read_bytes()).to_dict() | damage
    with pytest.raises(BinaryError, match="damaged"):
        BinaryAnalysis.from_dict(stored)
