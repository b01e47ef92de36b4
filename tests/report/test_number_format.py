"""Short numbers keep their precision, and never show a small value as zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.report.number_format import bar, compact, ops_mix, percent, rate, size


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (7, "7"),
        (3.44, "3.4"),
        (812, "812"),
        (999.4, "999"),
        (999.5, "1.00k"),
        (48_350, "48.4k"),
        (999_999, "1.00M"),
        (1_234_567, "1.23M"),
        (123_456, "123k"),
        (None, "?"),
    ],
)
def test_compact(number: float | None, words: str) -> None:
    assert compact(number) == words


@given(st.integers(0, 10**18))
def test_compact_is_within_a_half_percent(number: int) -> None:
    words = compact(number)
    factor = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}.get(words[-1], 1)
    assert float(words.rstrip("kMGTPE")) * factor == pytest.approx(number, rel=0.006)
    assert len(words) <= 5


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0.0%"), (0.0001, "<0.1%"), (0.2341, "23.4%"), (0.9999, ">99.9%"), (1.0, "100.0%"), (None, "?")],
)
def test_percent(share: float | None, words: str) -> None:
    assert percent(share) == words


def test_sizes_and_rates() -> None:
    assert [size(12), size(97_320_960), size(None)] == ["12 B", "97.3 MB", "?"]
    assert [rate(3.44), rate(4321.6), rate(None)] == ["3.4", "4,322", "?"]


def test_ops_mix() -> None:
    assert ops_mix({"get": 990, "set": 10, "touch": 0}) == "get 99% set 1%"
    assert ops_mix(None) == "?"
    assert ops_mix({}) == ""


@given(st.floats(0, 50), st.floats(0, 50), st.integers(4, 60))
def test_bar_fills_cells(load: float, other: float, cells: int) -> None:
    below, above, rest = bar(load, max(load, other), cells)
    assert len(below + above + rest) == cells


def test_bar_marks_mean() -> None:
    assert bar(2.0, 2.0, 10) == ("█████", "▓▓▓▓▓", "")
    assert bar(0.5, 2.0, 10) == ("██", "", "  │     ")
