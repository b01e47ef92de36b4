"""A stored analysis that contradicts itself is refused: every number that decides where a probe goes is checked."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.stored import check_stored
from tests.binary.builds import CI_BUILDS, build, cache, stripped

PHDR_SIZE = 56
"""Bytes of a program header of a 64-bit ELF file."""
NUMBERS = ("address", "file_offset", "offset", "return_offset")
NAMES = (*CI_BUILDS, *(name for name in ("dtrace", "no-pie-bare", "fentry") if (cache() / "binary" / name).is_dir()))
"""Of static probes, of code with address is not its offset, and of functions that call first, where they are built."""
Path = tuple[str | int, ...]


@lru_cache
def fields(name: str, *, strip: bool = False) -> dict[str, Any]:
    path = stripped(name) if strip else build(name)
    stored: dict[str, Any] = json.loads(json.dumps(analyse(path.read_bytes()).to_dict()))
    return stored


def loaded(stored: dict[str, Any]) -> BinaryAnalysis:
    analysis = BinaryAnalysis.from_dict(stored)
    check_stored(analysis)
    return analysis


def at(stored: Any, path: Path) -> Any:
    for step in path:
        stored = stored[step]
    return stored


def changed(stored: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(stored)
    at(result, path[:-1])[path[-1]] = value
    return result


def numbers(stored: dict[str, Any]) -> Iterator[Path]:
    """The numbers of a stored analysis that decide where a probe goes and what it reads there."""
    for index, point in enumerate(stored["functions"]):
        for name in ("address", "file_offset"):
            yield "functions", index, name
        for instruction in ("entry", "cheapest"):
            yield from (
                ("functions", index, instruction, name) for name in NUMBERS if point[instruction][name] is not None
            )
    for index, probe in enumerate(stored["usdt"]):
        yield from (("usdt", index, "instruction", name) for name in NUMBERS if probe["instruction"][name] is not None)
    if stored["exit"] is not None:
        yield from (("exit", "instructions", 0, name) for name in ("address", "file_offset", "offset"))
    for index in range(len(stored["headers"])):
        yield "headers", index, 0


@pytest.mark.parametrize("strip", [False, True], ids=["symbols", "stripped"])
@pytest.mark.parametrize("name", NAMES)
def test_stored_analysis_is_accepted(name: str, strip: bool) -> None:
    stored = fields(name, strip=strip)
    assert loaded(stored).to_dict() == BinaryAnalysis.from_dict(stored).to_dict()


@settings(deadline=None, max_examples=300)
@given(data=st.data(), shift=st.integers(-64, 64).filter(bool) | st.integers(-(2**70), 2**70).filter(bool))
def test_shifted_number_is_refused(data: st.DataObject, shift: int) -> None:
    stored = fields(data.draw(st.sampled_from(NAMES)), strip=data.draw(st.booleans()))
    path = data.draw(st.sampled_from(list(numbers(stored))))
    # At another entry of the table a program header agrees with the rest: the node compares it with the binary.
    assume(path[0] != "headers" or shift % PHDR_SIZE)
    with pytest.raises(BinaryError):
        loaded(changed(stored, path, at(stored, path) + shift))


@settings(deadline=None, max_examples=200)
@given(data=st.data(), shift=st.integers(-64, 64).filter(bool))
def test_completely_shifted_instruction_is_refused(data: st.DataObject, shift: int) -> None:
    stored = fields(data.draw(st.sampled_from(NAMES)), strip=data.draw(st.booleans()))
    index = data.draw(st.integers(0, len(stored["functions"]) - 1))
    names = data.draw(st.sets(st.sampled_from(NUMBERS[:3]), min_size=1))
    instruction = data.draw(st.sampled_from(("entry", "cheapest")))
    for name in names:
        path: Path = ("functions", index, instruction, name)
        stored = changed(stored, path, at(stored, path) + shift)
    with pytest.raises(BinaryError):
        loaded(stored)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_changed_code_or_text_is_refused(data: st.DataObject) -> None:
    stored = fields(data.draw(st.sampled_from(NAMES)), strip=data.draw(st.booleans()))
    path: Path = ("functions", data.draw(st.integers(0, len(stored["functions"]) - 1)), "cheapest")
    name, value = data.draw(
        st.sampled_from(
            [
                ("code", ""),
                ("code", "zz"),
                ("code", 7),
                ("code", "9090"),
                ("code", at(stored, path)["code"] + "90"),
                ("instruction", "nop"),
                ("address", None),
                ("address", float(at(stored, path)["address"])),
                ("file_offset", str(at(stored, path)["file_offset"])),
                ("after", "f"),
            ]
        )
    )
    with pytest.raises(BinaryError):
        loaded(changed(stored, (*path, name), value))


@pytest.mark.parametrize("headers", [[], [[0, ""]], [[0, "00"]], [[64, "00"]], "damaged", None, [1]])
def test_headers_that_cannot_be_read_are_refused(headers: object) -> None:
    with pytest.raises(BinaryError):
        loaded(fields("plain") | {"headers": headers})
