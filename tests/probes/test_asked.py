"""A key that is asked for enters a program as numbers only, and the comparison accepts exactly that key."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from fleettrace.probes.asked import comparison

KEYS = st.binary(min_size=1, max_size=250)
_READ = re.compile(r"\*\(uint64\*\)\(\$key \+ (\d+)(?: - (\d+))?\)")
_NUMBER = re.compile(r"\(\(\(uint64\)(0x[0-9a-f]+) << 32\) \| \(uint64\)(0x[0-9a-f]+)\)")


def accepts(text: str, key: bytes) -> bool:
    """Evaluate the comparison's condition for a key in memory, with other bytes around it."""
    memory = b"\xff" * 8 + key + b"\xff" * 8
    condition = text[len("if (") : text.index(") { $asked")]
    for part in condition.split(" && "):
        left, right = part.split(" == ")
        if left == "$length":
            if len(key) != int(right):
                return False
            continue
        read, number = _READ.search(left), _NUMBER.fullmatch(right)
        assert read is not None
        assert number is not None
        at = int(read[1]) - int(read[2] or 0)
        assert -8 <= at <= len(key) - 8, "it reads behind the key"
        value = int.from_bytes(memory[8 + at : 16 + at], "little")
        shift = re.search(r">> (\d+)\)$", left)
        if value >> int(shift[1] if shift else 0) != int(number[1], 16) << 32 | int(number[2], 16):
            return False
    return True


@given(KEYS, KEYS)
@example(b"a\0b", b"a")
@example(b'"}; system("id")', b"x")
def test_comparison_accepts_exactly_its_key(key: bytes, other: bytes) -> None:
    text = comparison([key])
    assert accepts(text, key)
    assert accepts(text, other) == (key == other)


@given(st.lists(KEYS, min_size=1, max_size=4))
def test_no_byte_of_a_key_is_text(keys: list[bytes]) -> None:
    number = r"\(\(\(uint64\)0x[0-9a-f]{1,8} << 32\) \| \(uint64\)0x[0-9a-f]{1,8}\)"
    read = r"(?:\*\(uint64\*\)\(\$key \+ \d+\)|\(\*\(uint64\*\)\(\$key \+ \d+ - 8\) >> \d+\))"
    line = rf"if \(\$length == \d+(?: && {read} == {number})+\) \{{ \$asked = \(uint64\)\d+; \}}"
    lines = comparison(keys).split("\n\t\t")
    assert len(lines) == len(keys)
    assert all(re.fullmatch(line, each) for each in lines)
