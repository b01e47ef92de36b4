"""The layout of keys: every key is transmitted completely, and no byte behind it is read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.labels import key_of_integers
from fleettrace.probes.layout import key_expression, key_layout, key_sizes, word_expression, word_statements
from fleettrace.probes.model import Bound, KeyLayout
from fleettrace.summary.key import KEY_MAX_LENGTH

VERSIONS = [(0, 11, 3), (0, 17, 0), (0, 22, 0), (0, 23, 0), (0, 27, 1)]
CONDITION = re.compile(r"(.+) \? (.+) : (.+)")


def read(
    layout: KeyLayout, expression: str, memory: bytes, length: int, *, generous: bool, any_length: bool = False
) -> list[tuple[int, bytes]]:
    """Evaluate the expression as bpftrace does: the end and the content of each of its strings.

    A `generous` bpftrace gives a string as many bytes as its limit, instead of one less.
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


def words(statements: str, key: bytes, before: bytes, behind: bytes) -> dict[str, int]:
    """Run the statements as Python on a key between other bytes. A read behind the key's end fails."""
    memory, start = before + key + behind, len(before)

    def read(address: int) -> int:
        assert address + 8 <= start + len(key)
        return int.from_bytes(memory[address : address + 8], "little")

    python = re.sub(r"\*\(uint64\*\)(?:uptr)?", "read", statements.replace("(uint64)", "").replace("$", "v_"))
    depth, lines = 0, []
    for part in re.split(r"([{};])", python):
        lines += [" " * depth + part.strip()] if part.strip() not in ("", "{", "}", ";") else []
        if part == "{":
            depth, lines[-1] = depth + 1, lines[-1] + ":"
        depth -= part == "}"
    variables = {"v_key": start, "v_length": len(key), "read": read}
    exec("\n".join(lines), {"__builtins__": {}}, variables)
    return {name.removeprefix("v_"): value for name, value in variables.items() if isinstance(value, int)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("anywhere", [False, True])
@given(key=st.binary(min_size=1, max_size=72).filter(any), before=st.binary(min_size=8, max_size=8))
def test_short_key_is_read_completely(version: tuple[int, int, int], anywhere: bool, key: bytes, before: bytes) -> None:
    layout = key_layout(version)
    found = words(word_statements(layout, anywhere=anywhere), key, before, b"SECRET" * 20)
    shown = ", ".join(str(found[name.removeprefix("$")]) for name in word_expression(layout).split(", "))
    assert key_of_integers(shown.encode(), len(key)) == key
    assert len(shown.split(", ")) == layout.words


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("other_bound", [False, True])
@given(length=st.integers(1, KEY_MAX_LENGTH), generous=st.booleans(), any_length=st.booleans())
def test_long_key_is_read_completely(
    version: tuple[int, int, int], other_bound: bool, length: int, generous: bool, any_length: bool
) -> None:
    layout = key_layout(version, other_bound=other_bound)
    # The layout relies on a limit of S - 1 bytes only for releases that have it.
    generous &= layout.bound is not Bound.BPFTRACE
    length = length if any_length else max(length, layout.short + 1)
    key = bytes(number % 255 + 1 for number in range(length))
    expression = key_expression(layout, any_length=any_length)
    memory = key + b"SECRET" * 100
    strings = read(layout, expression, memory, length, generous=generous, any_length=any_length)
    assert b"".join(text for _, text in strings) == key
    assert all(end <= length or not text for end, text in strings)


@pytest.mark.parametrize("other_bound", [False, True])
def test_only_old_releases_bound_strings_themselves(other_bound: bool) -> None:
    for version in VERSIONS:
        if key_layout(version, other_bound=other_bound).bound is Bound.BPFTRACE:
            assert version < (0, 23, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_layout_holds_the_longest_key(version: tuple[int, int, int]) -> None:
    layout = key_layout(version)
    assert layout.capacity >= KEY_MAX_LENGTH
    assert layout.strlen > layout.piece


@pytest.mark.parametrize("version", VERSIONS)
def test_strlen_is_within_the_oldest_limit(version: tuple[int, int, int]) -> None:
    assert key_layout(version).strlen <= 200
