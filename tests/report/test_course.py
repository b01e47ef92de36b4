"""Late and bursting keys are marked with when it began, steady ones are not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.report.course import Mark, MarkKind, mark, sparkline

FLEET = [10_000] * 12


def test_a_key_of_the_last_third_is_late() -> None:
    assert mark([0] * 9 + [400, 500, 450], FLEET, 1.0) == Mark(MarkKind.LATE, 9.0)


def test_a_key_that_rises_from_a_little_is_late() -> None:
    assert mark([10] * 8 + [300, 500, 500, 500], FLEET, 0.5) == Mark(MarkKind.LATE, 4.0)


def test_a_burst_is_marked_where_it_begins() -> None:
    assert mark([20] * 4 + [900, 1000] + [20] * 6, FLEET, 1.0) == Mark(MarkKind.BURST, 4.0)


def test_a_burst_within_the_last_third_that_is_over_is_not_late() -> None:
    assert mark([20] * 9 + [900, 20, 20], FLEET, 1.0) == Mark(MarkKind.BURST, 9.0)


@pytest.mark.parametrize(
    "course",
    [
        [100] * 12,
        [100, 90, 110, 95, 105, 100, 100, 98, 102, 100, 97, 103],
        [0] * 9 + [3, 4, 2],
        [0] * 12,
        [350, 300, 300, 200, 150, 150, 140, 130, 130, 130, 120, 120],
    ],
)
def test_a_course_that_is_steady_or_too_small_or_falls_has_no_mark(course: list[int]) -> None:
    assert mark(course, FLEET, 1.0) is None


def test_the_fleets_own_rise_is_no_keys_mark() -> None:
    assert mark([5] * 8 + [500] * 4, [100] * 8 + [10_000] * 4, 1.0) is None


def test_a_few_buckets_say_nothing() -> None:
    assert mark([0, 0, 0, 900], [1000] * 4, 1.0) is None


@given(st.integers(0, 10_000), st.integers(30, 2_000))
def test_chance_alone_is_hardly_ever_marked(seed: int, mean: int) -> None:
    rng = random.Random(seed)
    course = [max(0, round(rng.gauss(mean, mean**0.5))) for _ in range(12)]
    assert mark(course, FLEET, 1.0) is None


def test_a_sparkline_goes_from_nothing_to_the_highest() -> None:
    assert sparkline([0, 1, 500, 1000], 10) == "▁▂▅█"
    assert sparkline([0, 1000], 10, ascii_only=True) == "_#"
    assert sparkline([0, 0], 10) == "▁▁"
    assert sparkline([], 10) == ""


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=100), st.integers(1, 20))
def test_a_narrow_sparkline_still_shows_the_highest_bucket(course: list[int], cells: int) -> None:
    line = sparkline(course, cells)
    assert len(line) == min(cells, len(course))
    assert ("█" in line) == (max(course) > 0)
