"""Late and bursting keys have a trend with its start, steady ones have none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.report.timeline import Trend, TrendKind, sparkline, trend_of

FLEET = [10_000] * 12


def test_key_of_last_third_is_late() -> None:
    assert trend_of([0] * 9 + [400, 500, 450], FLEET, 1.0) == Trend(TrendKind.LATE, 9.0)


def test_key_rising_from_little_is_late() -> None:
    assert trend_of([10] * 8 + [300, 500, 500, 500], FLEET, 0.5) == Trend(TrendKind.LATE, 4.0)


def test_burst_has_its_start() -> None:
    assert trend_of([20] * 4 + [900, 1000] + [20] * 6, FLEET, 1.0) == Trend(TrendKind.BURST, 4.0)


def test_ended_burst_is_not_late() -> None:
    assert trend_of([20] * 9 + [900, 20, 20], FLEET, 1.0) == Trend(TrendKind.BURST, 9.0)


@pytest.mark.parametrize(
    "timeline",
    [
        [100] * 12,
        [100, 90, 110, 95, 105, 100, 100, 98, 102, 100, 97, 103],
        [0] * 9 + [3, 4, 2],
        [0] * 12,
        [350, 300, 300, 200, 150, 150, 140, 130, 130, 130, 120, 120],
    ],
)
def test_steady_small_or_falling_has_no_trend(timeline: list[int]) -> None:
    assert trend_of(timeline, FLEET, 1.0) is None


def test_rise_of_fleet_is_no_trend() -> None:
    assert trend_of([5] * 8 + [500] * 4, [100] * 8 + [10_000] * 4, 1.0) is None


def test_few_buckets_have_no_trend() -> None:
    assert trend_of([0, 0, 0, 900], [1000] * 4, 1.0) is None


@given(st.integers(0, 10_000), st.integers(30, 2_000))
def test_noise_seldom_has_trend(seed: int, mean: int) -> None:
    rng = random.Random(seed)
    timeline = [max(0, round(rng.gauss(mean, mean**0.5))) for _ in range(12)]
    assert trend_of(timeline, FLEET, 1.0) is None


def test_sparkline_scales_to_highest() -> None:
    assert sparkline([0, 1, 500, 1000], 10) == "▁▂▅█"
    assert sparkline([0, 1000], 10, ascii_only=True) == "_#"
    assert sparkline([0, 0], 10) == "▁▁"
    assert sparkline([], 10) == ""


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=100), st.integers(1, 20))
def test_narrow_sparkline_shows_highest_bucket(timeline: list[int], cells: int) -> None:
    line = sparkline(timeline, cells)
    assert len(line) == min(cells, len(timeline))
    assert ("█" in line) == (max(timeline) > 0)
