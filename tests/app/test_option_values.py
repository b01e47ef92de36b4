"""Durations, shares and counts are read as people write them, or refused with what was expected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.app.option_values import address, count, duration, share


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("500ms", 0.5), ("5m", 300), ("1h", 3600), ("1m30s", 90), ("7", 7), ("0.5", 0.5), ("1.5m", 90)],
)
def test_a_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "part"), [("50%", 0.5), ("0.5", 0.5), ("100%", 1), ("0", 0), ("12.5%", 0.125)])
def test_a_share_is_a_part_of_one(text: str, part: float) -> None:
    assert share(text) == pytest.approx(part)


@pytest.mark.parametrize("text", ["", "s", "10 s", "-1s", "0s", "0", "25h", "1e3s", "ten", "1m30", "5s ", "٣s"])
def test_wrong_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected .*(10s|24h)"):
        duration(text)


@pytest.mark.parametrize("text", ["", "%", "101%", "1.1", "-1", "half", "5 %"])
def test_wrong_share_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected a percentage such as 50%"):
        share(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "ten", "1000001", "1 0", "9" * 5000, "٣"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 1"):
        count(text)


@given(st.integers(1, 1_000_000))
def test_a_count_is_itself(number: int) -> None:
    assert count(str(number)) == number


@given(st.text(max_size=12))
def test_no_text_is_too_odd(text: str) -> None:
    for read in (duration, share, count):
        try:
            assert read(text) >= 0
        except ValueError as error:
            assert "expected" in str(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [("127.0.0.1:9497", ("127.0.0.1", 9497)), ("[::1]:0", ("::1", 0)), ("0.0.0.0:65535", ("0.0.0.0", 65535))],
)
def test_an_address_has_a_port(text: str, value: tuple[str, int]) -> None:
    assert address(text) == value


@pytest.mark.parametrize("text", ["", ":9497", "9497", "localhost:9497", "127.0.0.1", "127.0.0.1:65536", "::1:9497"])
def test_wrong_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected 127\.0\.0\.1:9497"):
        address(text)
