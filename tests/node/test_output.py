"""Whatever a key holds and however the output is cut into chunks, what was counted is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.node.labels import key_of_integers
from fleettrace.node.output import Attached, Event, OutputParser, RawSlice, Started, UnparsedLine
from tests.node.bpftrace_text import (
    LAYOUTS,
    NONCE,
    Printed,
    chunked,
    contents,
    entries,
    entry_of,
    in_order,
    keys,
    render,
    short_keys,
    shown,
)

FRUGAL = settings(max_examples=60, deadline=None)
layouts = st.sampled_from(LAYOUTS)
cuts = st.lists(st.integers(0, 100_000), max_size=12)
totals = st.dictionaries(st.integers(1, 4_194_304), st.integers(0, 2**63 - 1), max_size=3)
garbage = st.binary(max_size=200) | st.lists(
    st.sampled_from(
        [
            b"@a_k3Xq[30064771075, ",
            b"@c_k3Xq[9, ",
            b"@na_k3Xq[",
            b"]: 3\n",
            b"#k3Xq slice a ",
            b"#k3Xq end\n",
            b"1",
            b"\n",
        ]
    )
).map(b"".join)


def parse(text: bytes, layout: tuple[int, int], at: list[int]) -> list[Event]:
    parser = OutputParser(*layout, NONCE)
    events = [event for chunk in chunked(text, at) for event in parser.feed(chunk)]
    return events + parser.finish()


@FRUGAL
@given(layouts, cuts, st.data())
def test_what_was_counted_is_what_is_read(layout: tuple[int, int], at: list[int], data: st.DataObject) -> None:
    some = st.lists(entries(), max_size=5, unique_by=lambda entry: entry[:4])
    printed = data.draw(
        st.lists(st.builds(Printed, st.sampled_from("ab"), st.integers(1, 2**63 - 1), totals, some), max_size=4)
    )
    events = parse(render(printed, *layout), layout, at)
    assert contents(events) == in_order(printed)


def test_repeated_keys_beyond_the_cache_are_parsed() -> None:
    piece, pieces = LAYOUTS[0]
    printed = [
        Printed("ab"[turn % 2], turn + 1, {7: 9}, [entry_of(7, turn % 3, b"k%d" % key, key + 1) for key in some])
        for turn, some in enumerate([range(3000), range(1500, 4000), range(3000), range(6000), range(10), range(3000)])
    ]
    events = parse(render(printed, piece, pieces), (piece, pieces), list(range(0, 400_000, 32 * 1024)))
    assert contents(events) == in_order(printed)


@given(garbage, layouts, cuts)
def test_parser_accepts_any_output_in_any_chunks(text: bytes, layout: tuple[int, int], at: list[int]) -> None:
    assert parse(text, layout, at) == parse(text, layout, [])


@FRUGAL
@given(keys, keys, layouts, cuts)
def test_long_key_is_known_up_to_its_nul(before: bytes, after: bytes, layout: tuple[int, int], at: list[int]) -> None:
    key = (before[:248] + b"\0" + after).ljust(73, b"x")[:250]
    [read] = parse(render([Printed("a", 9, {}, [entry_of(7, 0, key, 3)])], *layout), layout, at)
    assert isinstance(read, RawSlice)
    [found] = read.entries
    assert (found.pid, found.tag, found.length, found.requests) == (7, 0, len(key), 3)
    assert key.partition(b"\0")[0].startswith(found.data)


@FRUGAL
@given(layouts, totals, cuts, st.data())
def test_early_end_prints_a_slice_without_end(
    layout: tuple[int, int], sums: dict[int, int], at: list[int], data: st.DataObject
) -> None:
    some = data.draw(st.lists(entries(), min_size=1, max_size=5, unique_by=lambda entry: entry[:4]))
    text = (
        b"\n\n@busy_k3Xq[0]: 1\n" + render([Printed("b", None, sums, some)], *layout) + b"@now_k3Xq: 77\n@w_k3Xq: 2\n"
    )
    parser = OutputParser(*layout, NONCE)
    events = [event for chunk in chunked(text, at) for event in parser.feed(chunk)] + parser.finish()
    assert contents(events) == in_order([Printed("b", None, sums, some)])
    assert parser.now_ns == 77


@FRUGAL
@given(layouts, st.data())
def test_incomplete_output_loses_only_unprinted_entries(layout: tuple[int, int], data: st.DataObject) -> None:
    some = data.draw(st.lists(entries(), min_size=2, max_size=5, unique_by=lambda entry: entry[:4]))
    text = render([Printed("a", 5, {}, some)], *layout)
    cut = parse(text[: data.draw(st.integers(0, len(text)))], layout, [])
    read = [entry for event in cut if isinstance(event, RawSlice) for entry in event.entries]
    assert read[:-1] == some[: max(0, len(read) - 1)]


@pytest.mark.parametrize(
    ("words", "probes"),
    [(b"Attaching 4 probes...\n", 4), (b"Attached 4 probes\n", 4), (b"Attaching 1 probe...\n", 1)],
)
def test_attached_is_parsed_from_all_versions(words: bytes, probes: int) -> None:
    assert parse(words, LAYOUTS[0], []) == [Attached(probes)]


def test_started_event_has_its_time() -> None:
    assert parse(b"#k3Xq start 123456789\n", LAYOUTS[0], [3]) == [Started(123456789)]


def test_bpftrace_messages_are_unparsed_lines() -> None:
    words = b"ERROR: Could not resolve symbol: /proc/1/exe:nope"
    assert parse(words + b"\n", LAYOUTS[0], []) == [UnparsedLine(words)]


@given(short_keys)
def test_a_short_key_may_hold_any_byte(key: bytes) -> None:
    assert key_of_integers(shown(key, *LAYOUTS[0]), len(key)) == key


def test_old_versions_print_integers_with_a_sign() -> None:
    assert key_of_integers(b"-1, " + b", ".join([b"0"] * 8), 3) == b"\xff\xff\xff"


def test_unread_key_is_empty() -> None:
    assert key_of_integers(b", ".join([b"0"] * 9), 3) == b""


@pytest.mark.parametrize("words", [b"1", b"1, 2, 3, 4, 5, 6, 7, 8, x", b"1, 2, 3, 4, 5, 6, 7, 8, 9, 10", b"-, " * 9])
def test_short_key_requires_nine_integers(words: bytes) -> None:
    text = b"#k3Xq slice a 5\n@a_k3Xq[%d, %b]: 3\n#k3Xq end\n" % (7 << 32 | 3, words)
    events = parse(text, LAYOUTS[0], [])
    assert [event.entries for event in events if isinstance(event, RawSlice)] == [[]]


def test_without_the_nonce_nothing_counts() -> None:
    text = b"@a[%d, key]: 3\n@na[7]: 3\n#start 5\n#XXXX slice a 5\n@a_XXXX[%d, key]: 3\n" % (7 << 32 | 3, 7 << 32 | 3)
    assert all(isinstance(event, UnparsedLine) for event in parse(text, LAYOUTS[0], []))


def test_endless_line_takes_bounded_memory() -> None:
    parser = OutputParser(*LAYOUTS[0], NONCE)
    for _ in range(1000):
        parser.feed(b"x" * 1000)
    assert len(parser._buffer) < 100_000


def test_output_that_broke_off_gives_no_half_number() -> None:
    entry = f"@a_{NONCE}[{7 << 32 | 1}, 107{', 0' * 8}]: 1"
    text = f"#{NONCE} start 1\n#{NONCE} slice a 2\n@na_{NONCE}[7]: 12\n{entry}".encode()
    parser = OutputParser(71, 4, NONCE)
    events = parser.feed(text) + parser.finish()
    assert [event.entries for event in events if isinstance(event, RawSlice)] == [[]]
