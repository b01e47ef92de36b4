"""A line of the ascii protocol is as many requests as it names keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.ascii_protocol import requests_of_line
from fleettrace.summary.key import KEY_MAX_LENGTH, Key

words = st.binary(min_size=1, max_size=KEY_MAX_LENGTH).map(
    lambda data: bytes(byte for byte in data if byte > 32) or b"k"
)


@pytest.mark.parametrize(
    ("line", "requests"),
    [
        (b"get a", [(b"a", "get")]),
        (b"get a b  c\r\n", [(b"a", "get"), (b"b", "get"), (b"c", "get")]),
        (b"gets a", [(b"a", "get")]),
        (b"gat 60 a b", [(b"a", "touch"), (b"b", "touch")]),
        (b"set k 0 60 5", [(b"k", "set")]),
        (b"cas k 0 60 5 17 noreply", [(b"k", "set")]),
        (b"delete k noreply", [(b"k", "delete")]),
        (b"incr k 5", [(b"k", "arith")]),
        (b"touch k 60", [(b"k", "touch")]),
        (b"mg k v t", [(b"k", "get")]),
        (b"ms k 5", [(b"k", "set")]),
        (b"mn", []),
        (b"stats items", []),
        (b"version", []),
        (b"get", []),
        (b"", []),
    ],
)
def test_a_line_names_its_keys(line: bytes, requests: list[tuple[bytes, str]]) -> None:
    assert [(key.data, op) for key, op in requests_of_line(line, cut=False)] == requests


@given(st.lists(words, min_size=1))
def test_a_multiget_is_as_many_requests_as_keys(keys: list[bytes]) -> None:
    assert list(requests_of_line(b"get " + b" ".join(keys), cut=False)) == [(Key.whole(key), "get") for key in keys]


def test_last_word_of_cut_line_is_truncated() -> None:
    assert list(requests_of_line(b"get whole par", cut=True)) == [
        (Key.whole(b"whole"), "get"),
        (Key(b"par", KEY_MAX_LENGTH), "get"),
    ]


def test_key_before_the_cut_is_complete() -> None:
    assert list(requests_of_line(b"set whole 0 6", cut=True)) == [(Key.whole(b"whole"), "set")]


@given(st.binary(), st.booleans())
def test_no_line_is_too_odd(line: bytes, cut: bool) -> None:
    for key, _ in requests_of_line(line, cut):
        assert 0 < len(key.data) <= max(key.length, len(key.data))
