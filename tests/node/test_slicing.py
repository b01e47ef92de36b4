"""From slices to one summary a process: exact totals, bounds where something was hidden, a window that was measured."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from fleettrace.node.output import Entry
from fleettrace.node.slicing import Slicer
from fleettrace.probes.model import ProbeKind, ProbeOptions, ProbePlan, TraceSettings
from fleettrace.probes.selection import preview
from fleettrace.probes.tags import Tagging
from fleettrace.summary.key import Key
from tests.node.bpftrace_text import raw_slice

SECOND = 1_000_000_000


def entry(pid: int, key: bytes, requests: int) -> Entry:
    return Entry(pid, 0, len(key), key, requests, False)


def slicer(*pids: int, printed: int = 200, probe_kind: ProbeKind = ProbeKind.ITEM) -> Slicer:
    made = Slicer(dict.fromkeys(pids, preview(ProbeOptions(probe_kind))), TraceSettings(2.0, printed=printed), 1.0)
    made.start(100 * SECOND)
    return made


def test_slices_add_up_by_process() -> None:
    made = slicer(7, 8)
    made.add(raw_slice("a", 101 * SECOND, {7: 5, 8: 1}, [entry(7, b"x", 5), entry(8, b"x", 1)]), None)
    made.add(raw_slice("b", 102 * SECOND, {7: 2}, [entry(7, b"x", 2)]), None)
    assert (made.summaries[7].total, made.summaries[8].total) == (7, 1)
    assert made.summaries[7].lower(Key.whole(b"x")) == made.summaries[7].upper(Key.whole(b"x")) == 7
    assert (made.summaries[7].timeline, made.summaries[8].timeline[:2]) == ([5, 2], [1, 0])
    assert made.window_s(None) == 2
    assert made.complete


def test_what_was_not_printed_is_bounded() -> None:
    made = slicer(7, printed=1)
    made.add(raw_slice("a", 101 * SECOND, {7: 9}, [entry(7, b"x", 5)]), None)
    assert made.summaries[7].total == 9
    assert made.summaries[7].upper(Key.whole(b"unlisted")) == 4
    assert made.summaries[7].upper(Key.whole(b"x")) == 5


def test_stopped_trace_ends_at_its_clock() -> None:
    made = slicer(7)
    made.add(raw_slice("a", None, {7: 1}, [entry(7, b"x", 1)]), 100 * SECOND + SECOND // 2)
    assert made.window_s(100 * SECOND + SECOND // 2) == 0.5
    assert not made.complete


def test_interrupted_trace_ends_with_its_window() -> None:
    made = slicer(7)
    made.add(raw_slice("a", None, {7: 1}, [entry(7, b"x", 1)]), 160 * SECOND)
    assert made.window_s(160 * SECOND) == 2


def test_impossible_keys_reveal_a_misplaced_probe() -> None:
    made = slicer(7, 8)
    made.add(raw_slice("a", 101 * SECOND, {7: 9, 8: 9}, [Entry(7, 0, 4000, b"junk", 9, True), entry(8, b"x", 9)]), None)
    assert made.implausible == {7}


def with_plan(plan: ProbePlan) -> Slicer:
    made = Slicer({7: plan}, TraceSettings(2.0), 1.0)
    made.start(100 * SECOND)
    return made


KINDS = Tagging("", (None, "get"))
MIXED = Tagging("", (None, None, "get"))
"""The second tag is that of call sites of unknown kind."""


@pytest.mark.parametrize(
    ("plan", "tag", "wrong"),
    [
        (replace(preview(), tagging=KINDS), 1, False),
        (replace(preview(), tagging=MIXED), 2, False),
        # `me` and refused stores: a client alone can cause them.
        (replace(preview(), tagging=MIXED), 1, False),
        (replace(preview(), tagging=MIXED), 0, True),
        (replace(preview(), tagging=MIXED), 3, True),
        (replace(preview(), tagging=KINDS), 0, True),
        (preview(), 0, True),
        (replace(preview(), certain=True), 0, False),
    ],
)
@pytest.mark.parametrize("data", [b"u\0\0\0\0\0\x01", b"u"])
def test_nul_keys_are_plausible_in_known_functions(plan: ProbePlan, tag: int, wrong: bool, data: bytes) -> None:
    made = with_plan(plan)
    made.add(raw_slice("a", 101 * SECOND, {7: 20}, [entry(7, b"x", 5), Entry(7, tag, 7, data, 15, False)]), None)
    assert made.implausible == ({7} if wrong else set())


def test_packed_ids_are_keys_of_their_own() -> None:
    made = with_plan(replace(preview(), certain=True))
    packed = [b"u" + struct.pack(">Q", number) for number in range(1500)]
    made.add(raw_slice("a", 101 * SECOND, {7: 1500}, [entry(7, key, 1) for key in packed]), None)
    assert [key.data for key in made.summaries[7].keys] == packed
    assert not any(key.truncated for key in made.summaries[7].keys)


def test_lines_of_a_neighbour_leave_long_keys_whole() -> None:
    key, line = b"k" * 250, b"get " + b"a" * 250
    plans = {7: preview(ProbeOptions(ProbeKind.ITEM)), 8: preview(ProbeOptions(ProbeKind.COMMAND))}
    made = Slicer(plans, TraceSettings(2.0), 1.0)
    made.start(100 * SECOND)
    entries = [Entry(7, 0, 250, key, 3, True), Entry(8, 0, len(line), line, 2, True)]
    made.add(raw_slice("a", 101 * SECOND, {7: 3, 8: 2}, entries), None)
    assert list(made.summaries[7].keys) == [Key.whole(key)]
    assert list(made.summaries[8].keys) == [Key.whole(b"a" * 250)]


def test_cut_line_ends_with_a_truncated_key() -> None:
    made = slicer(8, probe_kind=ProbeKind.COMMAND)
    line = (b"get " + b"a" * 200 + b" " + b"b" * 200)[:284]
    made.add(raw_slice("a", 101 * SECOND, {8: 1}, [Entry(8, 0, 288, line, 1, True)]), None)
    assert list(made.summaries[8].keys) == [Key.whole(b"a" * 200), Key(b"b" * 79, 250)]


@pytest.mark.parametrize(("unknown", "undecided"), [(1, set()), (2, {7})])
def test_many_unknown_kinds_make_instance_undecided(unknown: int, undecided: set[int]) -> None:
    made = with_plan(replace(preview(), tagging=KINDS, ops=frozenset({"get"})))
    entries = [Entry(7, 1, 1, b"x", 10, False), Entry(7, 0, 1, b"y", unknown, False)]
    made.add(raw_slice("a", 101 * SECOND, {7: 10 + unknown}, entries), None)
    assert made.undecided == undecided
    assert made.summaries[7].total == 10
    assert made.summaries[7].upper(Key.whole(b"y")) == unknown


def test_misses_of_unknown_kind_are_none() -> None:
    made = with_plan(replace(preview(ProbeOptions(misses=True)), tagging=KINDS))
    entries = [Entry(7, 1, 1, b"x", 10, False), Entry(7, 0, 1, b"y", 3, False)]
    made.add(raw_slice("a", 101 * SECOND, {7: 13}, entries), None)
    made.finish([Entry(7, 0, 1, b"x", 4, False)], [])
    keys = made.summaries[7].keys
    assert (keys[Key.whole(b"x")].misses, keys[Key.whole(b"y")].misses) == (4, None)
