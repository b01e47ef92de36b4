"""A few cases of the fuzzing that `python -m tests.node.fuzz_output` does for as long as one likes."""

from __future__ import annotations

import random

from tests.node import fuzz_reports
from tests.node.bpftrace_text import LAYOUTS, NONCE, Printed, entry_of, render
from tests.node.fuzz_output import one, parsed


def test_some_hundred_cases_find_nothing() -> None:
    assert {one(random.Random(f"7:{number}")) for number in range(300)} == {"sound", "broken off", "mutated"}


def test_output_means_the_same_however_it_is_cut() -> None:
    """Two faults were found so: a slice without a process, and a sign of the program's that came in halves."""
    assert {one(random.Random(f"{seed}:{number}")) for seed in (11, 31) for number in range(150)} >= {"mutated"}


def test_some_hundred_reports_find_nothing() -> None:
    assert {fuzz_reports.one(random.Random(f"7:{number}")) for number in range(60)} == {
        "discovery",
        "trace",
        "growing",
    }


def test_a_sign_of_the_programs_may_come_in_halves() -> None:
    """A case that was found so: how long an item can be was told by what had arrived of it."""
    layout, nonce = LAYOUTS[0], NONCE.encode()
    whole = render([Printed("a", 5, {7: 4}, [entry_of(7, 0, b"k" * 90, 3), entry_of(7, 0, b"x", 1)])], *layout)
    broken = whole.replace(b"]: 3\n", b"@a_%b[9, #%b slice b 6\n@now_%b: 7\n" % (nonce, nonce, nonce), 1)
    for text in (whole, broken):
        assert all(parsed(text, layout, [cut]) == parsed(text, layout, []) for cut in range(len(text)))
