"""From slices to one summary a process: exact totals, bounds where something was hidden, a window that was measured."""

from __future__ import annotations

from fleettrace.node.output import Entry, RawSlice
from fleettrace.node.slicing import Slicer
from fleettrace.probes.ladder import preview
from fleettrace.probes.model import Rung, TraceSettings, Wish
from fleettrace.summary.key import Key

SECOND = 1_000_000_000


def entry(pid: int, key: bytes, requests: int) -> Entry:
    return Entry(pid, 0, len(key), key, requests, False)


def slicer(*pids: int, printed: int = 200, rung: Rung = Rung.ITEM) -> Slicer:
    made = Slicer(dict.fromkeys(pids, preview(Wish(rung))), TraceSettings(2.0, printed=printed), 1.0)
    made.start(100 * SECOND)
    return made


def test_slices_add_up_by_process() -> None:
    made = slicer(7, 8)
    made.add(RawSlice("a", 101 * SECOND, {7: 5, 8: 1}, [entry(7, b"x", 5), entry(8, b"x", 1)]), None)
    made.add(RawSlice("b", 102 * SECOND, {7: 2}, [entry(7, b"x", 2)]), None)
    assert (made.summaries[7].total, made.summaries[8].total) == (7, 1)
    assert made.summaries[7].lower(Key.whole(b"x")) == made.summaries[7].upper(Key.whole(b"x")) == 7
    assert (made.summaries[7].course, made.summaries[8].course[:2]) == ([5, 2], [1, 0])
    assert made.window_s(None) == 2
    assert made.whole


def test_what_was_not_printed_is_bounded() -> None:
    made = slicer(7, printed=1)
    made.add(RawSlice("a", 101 * SECOND, {7: 9}, [entry(7, b"x", 5)]), None)
    assert made.summaries[7].total == 9
    assert made.summaries[7].upper(Key.whole(b"unlisted")) == 4
    assert made.summaries[7].upper(Key.whole(b"x")) == 5


def test_a_trace_that_was_stopped_is_as_long_as_its_clock_says() -> None:
    made = slicer(7)
    made.add(RawSlice("a", None, {7: 1}, [entry(7, b"x", 1)]), 100 * SECOND + SECOND // 2)
    assert made.window_s(100 * SECOND + SECOND // 2) == 0.5
    assert not made.whole


def test_an_interrupted_trace_counts_no_longer_than_its_window() -> None:
    made = slicer(7)
    made.add(RawSlice("a", None, {7: 1}, [entry(7, b"x", 1)]), 160 * SECOND)
    assert made.window_s(160 * SECOND) == 2


def test_keys_that_memcached_cannot_have_give_a_misplaced_probe_away() -> None:
    made = slicer(7, 8)
    made.add(RawSlice("a", 101 * SECOND, {7: 9, 8: 9}, [Entry(7, 0, 4000, b"junk", 9, True), entry(8, b"x", 9)]), None)
    assert made.implausible == {7}


def test_a_key_with_a_nul_now_and_then_gives_nothing_away() -> None:
    made = slicer(7)
    made.add(RawSlice("a", 101 * SECOND, {7: 20}, [entry(7, b"x", 19), Entry(7, 0, 9, b"nul", 1, False)]), None)
    assert made.implausible == set()
    assert Key(b"nul", 9) in made.summaries[7].keys
    assert Key(b"nul", 9).truncated


def test_a_line_is_as_many_requests_as_it_names_keys() -> None:
    made = slicer(7, rung=Rung.COMMAND)
    lines = [Entry(7, 0, 0, b"get x y", 3, False), Entry(7, 0, 0, b"stats", 2, False)]
    made.add(RawSlice("a", 101 * SECOND, {7: 5}, lines), None)
    summary = made.summaries[7]
    assert summary.total == 6
    assert {key.data: count.requests for key, count in summary.keys.items()} == {b"x": 3, b"y": 3}
    assert summary.keys[Key.whole(b"x")].ops == {"get": 3}
