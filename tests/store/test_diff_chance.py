"""`fleettrace.store.diff.chance`, compared with sums of elementary probabilities."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.store.diff.chance import Events, beta_part, chance_of_ratio, holm, student_tail

counts = st.integers(0, 60)
parts = st.floats(0.05, 20)


@given(counts, counts, parts, st.floats(0.5, 3))
def test_small_counts_use_binomial_test(a: int, b: int, exposure: float, ratio: float) -> None:
    part = ratio * exposure / (1 + ratio * exposure)
    number = a + b
    exact = sum(comb(number, k) * part**k * (1 - part) ** (number - k) for k in range(b, number + 1))
    assert chance_of_ratio(Events(a, 1.0), Events(b, exposure), ratio, 0.0) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_normal_approximation_continues_binomial_test() -> None:
    chances = [chance_of_ratio(Events(n, 1.0), Events(1.2 * n, 1.0), 1.0, 0.01) for n in (495, 500, 505, 510)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == pytest.approx(chances[-1], rel=0.2)


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0.001, 0.2), st.floats(0.001, 0.3))
def test_more_wander_increases_chance(a: int, b: int, wander: float, more: float) -> None:
    first, second = Events(a, 1.0), Events(b, 1.0)
    steady = chance_of_ratio(first, second, 1.0, wander)
    wandering = chance_of_ratio(first, second, 1.0, wander + more)
    assert wandering >= steady * 0.98 or steady > 0.01
    assert chance_of_ratio(first, second, 1.0, wander + more, doubt=more**2 / 4) >= wandering * 0.98 or wandering > 0.01


@pytest.mark.parametrize(
    ("t", "freedom", "tail"), [(2.228, 10, 0.025), (1.812, 10, 0.05), (12.706, 1, 0.025), (4.785, 7, 0.001)]
)
def test_student_tail_matches_tables(t: float, freedom: float, tail: float) -> None:
    assert student_tail(t, freedom) == pytest.approx(tail, rel=2e-3)


@given(st.floats(0.1, 300), st.floats(0.1, 300), st.integers(0, 1 << 20))
def test_incomplete_beta_is_symmetric(a: float, b: float, numerator: int) -> None:
    x = numerator / (1 << 20)  # 1 - x is exact: a rounding there would move a steep function further than the tolerance
    assert beta_part(a, b, x) == pytest.approx(1 - beta_part(b, a, 1 - x), abs=1e-8)


def test_no_exposure_has_chance_one() -> None:
    assert chance_of_ratio(Events(5, 0.0), Events(50, 1.0), 1.0, 0.0) == 1.0
    assert chance_of_ratio(Events(5, 1.0), Events(0, 1.0), 1.0, 0.0, 1.0) == 1.0


def test_holm_corrects_for_number_of_tests() -> None:
    assert holm([0.01, 0.5, 0.001], 3) == pytest.approx([0.02, 0.5, 0.003])
    assert holm([0.2, 0.4], 10) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_order_and_increases_chances(chances: list[float]) -> None:
    corrected = holm(chances, len(chances))
    assert all(new >= old for new, old in zip(corrected, chances, strict=True))
    assert [corrected[i] for i in sorted(range(len(chances)), key=chances.__getitem__)] == sorted(corrected)
