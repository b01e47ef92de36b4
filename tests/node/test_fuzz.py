"""A few cases of the fuzzing that `python -m tests.node.fuzz_output` does for as long as one likes."""

from __future__ import annotations

import random

from tests.node.fuzz_output import one


def test_some_hundred_cases_find_nothing() -> None:
    assert {one(random.Random(f"7:{number}")) for number in range(300)} == {"sound", "broken off", "mutated"}


def test_output_means_the_same_however_it_is_cut() -> None:
    """Two faults were found so: a slice without a process, and a sign of the program's that came in halves."""
    assert {one(random.Random(f"{seed}:{number}")) for seed in (11, 31) for number in range(150)} >= {"mutated"}
