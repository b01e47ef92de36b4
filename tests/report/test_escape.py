"""Escaped keys and names are safe, on one line, and reversible."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fleettrace.report.escape import escape_key, escape_markdown, escape_text, is_plain, shorten, unescape_key
from tests.report.examples import HOSTILE

keys = st.one_of(st.binary(max_size=60), st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))


def assert_harmless(shown: str) -> None:
    for char in shown:
        assert char.isprintable(), hex(ord(char))
        assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


@given(keys)
def test_escaped_key_is_safe_and_reversible(data: bytes) -> None:
    shown = escape_key(data)
    assert_harmless(shown)
    assert unescape_key(shown) == data


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_keys_are_safe_and_reversible(data: bytes) -> None:
    assert_harmless(escape_key(data))
    assert unescape_key(escape_key(data)) == data


@given(keys)
def test_plain_key_is_unchanged(data: bytes) -> None:
    if is_plain(data):
        assert escape_key(data).replace("\\\\", "\\").replace("\\x20", " ") == data.decode()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"user:1:profile", "user:1:profile"),
        (b"a b", "a b"),
        (b" a ", "\\x20a\\x20"),
        (b"\x1b[31m", "\\x1b[31m"),
        (b"a\nb\tc\r", "a\\nb\\tc\\r"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"back\\slash", "back\\\\slash"),
        ("\u202e".encode(), "\\u202e"),
        ("\u200b".encode(), "\\u200b"),
        ("\u0085".encode(), "\\u0085"),
        ("\U000e0041".encode(), "\\U000e0041"),
        ("\u3164".encode(), "\\u3164"),
        ("e\u0301".encode(), "e\u0301"),
        ("\u0301e".encode(), "\\u0301e"),
        ("e\u0301\u0301\u0301".encode(), "e\u0301\u0301\\u0301"),
        ("漢字".encode(), "漢字"),
    ],
)
def test_escape_forms(data: bytes, shown: str) -> None:
    assert escape_key(data) == shown


@given(st.text(max_size=40))
def test_escaped_text_is_safe(text: str) -> None:
    assert_harmless(escape_text(text))


def test_escaped_text_keeps_backslashes() -> None:
    assert escape_text("C:\\x \x1b[0m \udcff") == "C:\\x \\x1b[0m \\xff"


@pytest.mark.parametrize("shown", ["\\", "\\q", "\\x1", "\\u12"])
def test_invalid_escape_is_rejected(shown: str) -> None:
    with pytest.raises(ValueError, match="not an escape"):
        unescape_key(shown)


@given(st.text(max_size=40), st.integers(4, 40))
def test_shortened_name_fits(text: str, cells: int) -> None:
    shown = escape_text(text)
    short = shorten(shown, cells)
    assert cell_len(short) <= cells
    assert short == shown or "…" in short


def test_name_is_shortened_in_middle() -> None:
    assert shorten("user:0123456789:profile", 11) == "user:…ofile"
    assert shorten("漢字漢字漢字", 7) == "漢…漢字"


@pytest.mark.parametrize(
    ("shown", "span"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("a|b", "`a\\|b`"), ("a``b", "```a``b```"), ("", "")],
)
def test_markdown_escape_is_code_span(shown: str, span: str) -> None:
    assert escape_markdown(shown) == span
