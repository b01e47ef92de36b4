"""`split_address`, compared with Ansible's `parse_address`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleettrace.inventory.addresses import split_address
from tests.inventory.oracle import parsed_address

_PIECES = (
    "a b1 f 0 00 1 255 256 : :: . - _ [ ] [1:3] [a:f] [0a:ff] [1:9:2] :22 ffff 12345 g é * / [] [1] 0:0:0:0:0 ::ffff: "
    "1.2.3.4"
)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(_PIECES.split()), max_size=9).map("".join))
@example("::ffff:1.2.3.4")
@example("0:0:0:0:0:0:1.2.3.[1:4]")
@example("1:2:3:4:5:6:7:8")
@example("1:2:3:4:5:6:7::")
@example("[foo:80]:22")
@example("[1:2]:80")
@example("-a.b")
@example("a_.b")
def test_split_address_equals_ansibles(text: str) -> None:
    assert split_address(text) == parsed_address(text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "0", "ffff", "[1:3]", "12345"]), max_size=9), st.integers(0, 9), st.integers(0, 9)
)
def test_ipv6_forms_equal_ansibles(parts: list[str], gap: int, second_gap: int) -> None:
    text = ":".join([*parts[:gap], "", *parts[gap:second_gap], *parts[second_gap:]])
    assert split_address(text) == parsed_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cache-001", ("cache-001", None)),
        ("cache-001:2222", ("cache-001", 2222)),
        ("[fe80::1]:22", ("fe80::1", 22)),
        ("fe80::1", ("fe80::1", None)),
        ("cache[1:3].net:2222", ("cache[1:3].net", 2222)),
        ("web:db", None),
        ("web*", None),
    ],
)
def test_address_and_port(text: str, expected: tuple[str, int | None] | None) -> None:
    assert split_address(text) == expected
