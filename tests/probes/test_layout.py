"""A key of any length comes through whole, and nothing behind its end is ever read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.probes.layout import key_expression, key_layout, key_sizes
from fleettrace.probes.model import Bound, KeyLayout
from fleettrace.summary.key import KEY_MAX_LENGTH

VERSIONS = [(0, 11, 3), (0, 17, 0), (0, 22, 0), (0, 23, 0), (0, 27, 1)]
CONDITION = re.compile(r"(.+) \? (.+) : (.+)")


def read(
    layout: KeyLayout, expression: str, memory: bytes, length: int, *, generous: bool, any_length: bool = False
) -> list[tuple[int, bytes]]:
    """What bpftrace makes of the expression: for each of its strings, where it ended and what it holds.

    A `generous` one lets a string have as many bytes as its limit says, instead of one less.
    """

    def value(text: str) -> int:
        if found := CONDITION.fullmatch(text):
            return value(found[2]) if value(found[1]) else value(found[3])
        for name, number in {"$length": length, "$key": 0, **sizes}.items():
            text = text.replace(name, str(number))
        return int(eval(text, {"__builtins__": {}}))

    sizes: dict[str, int] = {}
    for condition, name, text in re.findall(
        r"(?:if \(([^)]+)\) \{ )?(\$n\d) = ([^;]+);", key_sizes(layout, any_length=any_length)
    ):
        if not condition or value(condition):
            sizes[name] = value(text)
    strings = []
    for pointer, size in re.findall(r"str\((\$key[^,]*), ([^)]+)\)", expression):
        start, asked = value(pointer), value(size)
        assert asked >= 0
        end = start + min(asked - layout.plus_one, layout.strlen - 1 + generous)
        strings.append((end, memory[start:end]))
    return strings


def pieces_for(layout: KeyLayout, length: int) -> int:
    return 1 if length <= layout.piece else layout.pieces


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("other_bound", [False, True])
@given(length=st.integers(1, KEY_MAX_LENGTH), generous=st.booleans(), any_length=st.booleans())
def test_a_key_comes_through_whole_and_nothing_else(
    version: tuple[int, int, int], other_bound: bool, length: int, generous: bool, any_length: bool
) -> None:
    layout = key_layout(version, other_bound=other_bound)
    # Only releases whose own limit is known to be S - 1 bytes are relied on for it.
    generous &= layout.bound is not Bound.BPFTRACE
    key = bytes(number % 255 + 1 for number in range(length))
    pieces = layout.pieces if any_length else pieces_for(layout, length)
    expression = key_expression(layout, pieces, any_length=any_length)
    memory = key + b"SECRET" * 100
    strings = read(layout, expression, memory, length, generous=generous, any_length=any_length)
    assert b"".join(text for _, text in strings) == key
    assert all(end <= length or not text for end, text in strings)


@pytest.mark.parametrize("other_bound", [False, True])
def test_only_old_releases_are_relied_on_to_bound_strings(other_bound: bool) -> None:
    for version in VERSIONS:
        if key_layout(version, other_bound=other_bound).bound is Bound.BPFTRACE:
            assert version < (0, 23, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_longest_key_has_room(version: tuple[int, int, int]) -> None:
    layout = key_layout(version)
    assert layout.capacity >= KEY_MAX_LENGTH
    assert layout.strlen > layout.piece


@pytest.mark.parametrize("version", VERSIONS)
def test_no_version_is_asked_for_more_than_its_strings_can_hold(version: tuple[int, int, int]) -> None:
    for one_string in (False, True):
        assert key_layout(version, one_string=one_string).strlen <= (200 if version < (0, 23, 0) else 1024)


def test_a_line_that_ends_with_a_nul_is_one_string() -> None:
    layout = key_layout((0, 17, 0), one_string=True)
    assert layout.pieces == 1
    assert key_expression(layout, 1, ends_with_nul=True) == "str($key)"
