"""Keys come as bytes, some of them as sequences, and over a slow line in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.tui.display import Keyboard


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q/\r", ["q", "/", "enter"]),
        (b"\x1b[A\x1bOB\x1b[5~", ["up", "down", "page up"]),
        (b"\x7f\x08\x0c", ["backspace", "backspace", "redraw"]),
        ("é漢".encode(), ["é", "漢"]),
        (b"\x1b[200~\x00\x01\xff", []),
        (b"\x1bq", ["escape", "q"]),
    ],
)
def test_bytes_become_keys(data: bytes, keys: list[str]) -> None:
    assert Keyboard().feed(data) == keys


@given(st.lists(st.sampled_from([b"\x1b[A", b"\x1bOC", b"\x1b[6~", b"x", "é".encode(), b"\r"]), max_size=12), st.data())
def test_pieces_make_the_same_keys(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    keyboard = Keyboard()
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert [key for piece in pieces for key in keyboard.feed(piece)] == Keyboard().feed(whole)


def test_lone_escape_is_a_key_after_a_pause() -> None:
    keyboard = Keyboard()
    assert keyboard.feed(b"\x1b") == []
    assert keyboard.waiting
    assert keyboard.pause() == ["escape"]
    assert keyboard.pause() == []
