"""Rows are read as the slow reader reads them, from the recorded output of real bpftrace and from broken copies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.node.labels import Labels
from fleettrace.node.output import Event, OutputParser, RawSlice
from fleettrace.node.plausible import ImplausibleError
from tests.node import slow_reader
from tests.node.bpftrace_text import NONCE, chunked
from tests.node.slow_reader import SlowReader, SlowSlice

RECORDED = {path.stem: path for path in sorted((Path(__file__).parent / "recorded").glob("*.txt"))}
OWN = NONCE.encode()
WINDOW = ("misses", "bytes")


@dataclass(frozen=True, slots=True)
class Recording:
    """The output of a trace, with the nonce of these tests, and the layout of its long keys."""

    text: bytes
    layout: tuple[int, int]


@cache
def recorded(name: str) -> Recording:
    head, _, text = RECORDED[name].read_bytes().partition(b"\n")
    nonce, piece, pieces = head.split()
    return Recording(text.replace(nonce, OWN), (int(piece), int(pieces)))


def of_slice(one: RawSlice | SlowSlice) -> tuple[object, ...]:
    counts = one.short | one.long if isinstance(one, RawSlice) else one.entries
    return one.map, one.end_ns, one.totals, counts, one.complete


def fast(text: bytes, layout: tuple[int, int], cuts: list[int]) -> object:
    parser = OutputParser(*layout, NONCE)
    try:
        events: list[Event] = [event for chunk in chunked(text, cuts) for event in parser.feed(chunk)]
    except ImplausibleError as error:
        return str(error)
    window = [{entry._replace(requests=0): entry.requests for entry in parser.window_entries(what)} for what in WINDOW]
    parts = [of_slice(one) if isinstance(one, RawSlice) else one for one in events + parser.finish()]
    return parts, parser.complete, parser.now_ns, window


def slow(text: bytes, layout: tuple[int, int]) -> object:
    reader = SlowReader(*layout, NONCE)
    try:
        events: list[slow_reader.Event] = reader.feed(text)
    except ImplausibleError as error:
        return str(error)
    labels = Labels(*layout)
    window = [{labels.entry(label, 0): count for label, count in reader.window[what].items()} for what in WINDOW]
    parts = [of_slice(one) if isinstance(one, SlowSlice) else one for one in events + reader.finish()]
    return parts, reader.complete, reader.now_ns, window


SIGNED = (
    b"@a_%b[30064771075, ", b"@b_%b[30064771075, 1, 0, 0, 0, 0, 0, 0, 0, 0]: 5\n", b"@c_%b[9, ", b"@m_%b[",
    b"@na_%b[7]: 3\n", b"@now_%b: 7\n", b"@_asked_%b: 1\n", b"@w_%b: 2\n", b"#%b slice a 5\n", b"#%b end\n",
    b"#%b last b 9\n", b"#%b start 5\n",
)  # fmt: skip
PIECES = st.one_of(
    st.sampled_from(
        [
            *(one % OWN for one in SIGNED), OWN, b"]: 7\n", b"]: ", b"\n", b"\n\n", b", ", b"[", b"@", b"#", b"-", b"0",
            b" ", b"9" * 19, b"x",
        ]
    ),
    st.binary(min_size=1, max_size=3).map(lambda data: data.replace(b"\0", b"0")),
)  # fmt: skip


@st.composite
def broken(draw: st.DrawFn, text: bytes) -> bytes:
    """A copy of a part of `text` with some pieces put in, left out, overwritten, or repeated."""
    start = draw(st.integers(0, len(text) - 1))
    copy = bytearray(text[start : start + draw(st.integers(1, 20_000))])
    for _ in range(draw(st.integers(0, 8))):
        at, size = draw(st.integers(0, len(copy))), draw(st.sampled_from([0, 0, 1, 4, 100, 300, 3000]))
        copy[at : at + size] = draw(PIECES) if draw(st.booleans()) else copy[at : at + 150] * draw(st.integers(0, 3))
    return bytes(copy)


CUTS = st.lists(st.integers(0, 20_000), max_size=6)


@pytest.mark.parametrize("name", RECORDED)
@settings(max_examples=40, deadline=None)
@given(st.data(), CUTS)
def test_broken_output_is_read_alike(name: str, data: st.DataObject, cuts: list[int]) -> None:
    one = recorded(name)
    text = data.draw(broken(one.text))
    assert fast(text, one.layout, cuts) == slow(text, one.layout)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_output_is_read_alike(name: str) -> None:
    one = recorded(name)
    assert fast(one.text, one.layout, list(range(0, len(one.text), 32 * 1024))) == slow(one.text, one.layout)
