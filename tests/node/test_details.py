"""What is known of a key beside its requests: kinds asked for, misses, bytes; and what a full map leaves open."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.node.output import Entry
from fleettrace.node.slicing import Slicer
from fleettrace.probes.model import ProbeKind, ProbeOptions, ProbePlan, Script, TraceSettings
from fleettrace.probes.selection import preview
from fleettrace.probes.tags import Tagging
from fleettrace.summary.key import Key
from tests.node.bpftrace_text import raw_slice

SECOND = 1_000_000_000
TAGGED = replace(preview(), tagging=Tagging("", (None, "get", "set")))
SCRIPT = preview(ProbeOptions(script=Script("mine.bt", "", "n", "size")))
X, Y = Key.whole(b"x"), Key.whole(b"y")


def entry(key: bytes, number: int, tag: int = 0) -> Entry:
    return Entry(7, tag, len(key), key, number, False)


def slicer(plan: ProbePlan, printed: int = 200) -> Slicer:
    made = Slicer({7: plan}, TraceSettings(1.0, printed=printed), 1.0)
    made.start(100 * SECOND)
    return made


def test_unknown_kinds_count_as_absent() -> None:
    made = slicer(replace(TAGGED, ops=frozenset({"get"})))
    made.add(raw_slice("a", 101 * SECOND, {7: 8}, [entry(b"x", 5, 1), entry(b"y", 3, 0)]), None)
    summary = made.summaries[7]
    assert (summary.total, summary.lower(X), summary.lower(Y)) == (5, 5, 0)
    assert (summary.upper(X), summary.upper(Y)) == (8, 3)


def test_line_is_parsed_before_its_kind_is_checked() -> None:
    made = slicer(preview(ProbeOptions(ProbeKind.COMMAND, frozenset({"get"}))))
    lines = [Entry(7, 0, 0, b"get x y", 5, False), Entry(7, 0, 0, b"set x 0 0 1", 3, False)]
    made.add(raw_slice("a", 101 * SECOND, {7: 8}, lines), None)
    summary = made.summaries[7]
    assert (summary.total, summary.lower(X), summary.lower(Y)) == (10, 5, 5)


def test_key_without_entry_has_zero_misses() -> None:
    for printed, rest in ((200, 0), (0, None)):
        made = slicer(replace(TAGGED, misses="f", sizes="g"), printed)
        made.add(raw_slice("a", 101 * SECOND, {7: 8}, [entry(b"x", 5, 1), entry(b"y", 3, 1)]), None)
        made.finish([entry(b"x", 2)], [entry(b"y", 900)])
        keys = made.summaries[7].keys
        assert (keys[X].misses, keys[X].value_bytes) == (2, rest)
        assert (keys[Y].misses, keys[Y].value_bytes) == (rest, 900)


def test_uncounted_misses_are_unknown() -> None:
    made = slicer(TAGGED)
    made.add(raw_slice("a", 101 * SECOND, {7: 5}, [entry(b"x", 5, 1)]), None)
    made.finish([], [])
    assert (made.summaries[7].keys[X].misses, made.summaries[7].keys[X].value_bytes) == (None, None)


def test_script_total_is_the_sum_of_its_map() -> None:
    made = slicer(SCRIPT)
    made.add(raw_slice("a", 101 * SECOND, {}, [entry(b"x", 5), entry(b"y", 3)]), None)
    made.finish([], [entry(b"x", 900)])
    summary = made.summaries[7]
    assert (summary.total, summary.absent, summary.timeline) == (8, 0, [8])
    assert (summary.keys[X].value_bytes, summary.keys[Y].value_bytes) == (900, 0)
    assert not made.overfull


def test_full_map_of_script_is_reported() -> None:
    made = slicer(SCRIPT, printed=0)
    made.add(raw_slice("a", 101 * SECOND, {}, [entry(b"x", 5)]), None)
    assert made.overfull
