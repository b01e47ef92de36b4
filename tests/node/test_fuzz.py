"""A few cases of the fuzzing that `python -m tests.node.fuzz_output` does for as long as one likes."""

from __future__ import annotations

import random

from tests.node import fuzz_reports
from tests.node.fuzz_output import one


def test_some_hundred_cases_find_nothing() -> None:
    assert {one(random.Random(f"7:{number}")) for number in range(300)} == {"sound", "broken off", "mutated"}


def test_some_hundred_reports_find_nothing() -> None:
    assert {fuzz_reports.one(random.Random(f"7:{number}")) for number in range(60)} == {
        "discovery",
        "trace",
        "growing",
    }


def test_a_slice_may_not_say_whose_it_is() -> None:
    """A case that was found so."""
    assert one(random.Random("31:10")) == "mutated"


def test_a_sign_of_the_programs_may_come_in_halves() -> None:
    """A case that was found so: how long an item can be was told by what had arrived of it."""
    assert one(random.Random("11:218976")) == "mutated"
