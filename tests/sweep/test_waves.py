"""Waves have the sizes of Ansible's `serial`, every host once and in order, and end after too many failures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.sweep.waves import WaveSize, abort_reason, in_waves, serial


def sizes(text: str, hosts: int) -> list[int]:
    return [len(wave) for wave in in_waves(range(hosts), serial(text))]


@pytest.mark.parametrize(
    ("text", "hosts", "expected"),
    [
        ("1,10%,100%", 100, [1, 10, 89]),
        ("1,10%,100%", 5, [1, 1, 3]),
        ("3", 7, [3, 3, 1]),
        ("30%", 10, [3, 3, 3, 1]),
        ("29%", 100, [29, 29, 29, 13]),
        ("1, 5", 12, [1, 5, 5, 1]),
        ("100%", 4, [4]),
        ("0.5%", 1000, [5] * 200),
        ("9", 2, [2]),
    ],
)
def test_serial_sizes_are_those_of_ansible(text: str, hosts: int, expected: list[int]) -> None:
    assert sizes(text, hosts) == expected


def test_no_sizes_give_one_wave() -> None:
    assert in_waves("abc", ()) == ["abc"]
    assert in_waves("", ()) == []
    assert in_waves("", serial("1")) == []


size = st.one_of(
    st.builds(WaveSize, hosts=st.integers(1, 50)),
    st.builds(WaveSize, share=st.floats(0.0, 1.0, exclude_min=True)),
)


@given(st.integers(0, 300), st.lists(size, max_size=5))
def test_waves_keep_every_host_in_order(hosts: int, given_sizes: list[WaveSize]) -> None:
    waves = in_waves(range(hosts), given_sizes)
    assert [host for wave in waves for host in wave] == list(range(hosts))
    assert all(waves)


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "1,,2", "half", "1.5", "10 %"])
def test_serial_rejects_invalid_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="invalid wave size"):
        serial(text)


@pytest.mark.parametrize(
    ("failed", "started", "wave", "waves", "max_fail", "ends"),
    [
        (0, 1, 1, 3, None, False),
        (1, 1, 1, 3, None, True),
        (1, 100, 1, 1, None, False),
        (100, 100, 1, 1, None, False),
        (90, 100, 2, 3, None, False),
        (1, 10, 1, 3, 0.1, False),
        (2, 10, 1, 3, 0.1, True),
        (29, 100, 2, 3, 0.29, False),
        (30, 100, 2, 3, 0.29, True),
        (1, 100, 1, 1, 0.0, True),
        (0, 100, 1, 1, 0.0, False),
    ],
)
def test_abort_after_a_failed_canary_or_max_fail(
    failed: int, started: int, wave: int, waves: int, max_fail: float | None, ends: bool
) -> None:
    assert (abort_reason(failed, started, wave, waves, max_fail) is not None) is ends


def test_abort_reason_has_the_numbers() -> None:
    assert abort_reason(1, 1, 1, 2, None) == "1 of 1 host of the first wave failed"
    assert abort_reason(3, 20, 2, 3, 0.1) == "3 of 20 hosts started so far failed, and --max-fail is 10%"
