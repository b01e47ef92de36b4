"""A comparison states which changes it could have shown, and which windows would show more."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fleettrace.app.diff import diff_lines
from fleettrace.store.diff.compare import compare
from fleettrace.store.diff.model import ComparedKind, Diff
from fleettrace.store.diff.visible import Visibility
from fleettrace.store.history.model import StoredRun
from tests.store.diff_traffic import Fleet, window

KEYS = 200
BURSTY = Fleet(
    hosts=4,
    rate=20_000,
    weights=tuple((rank + 1) ** -1.0 for rank in range(KEYS)),
    places=tuple(rank % 4 for rank in range(KEYS)),
    bursts=(0.1,) * KEYS,
    memory=0.3,
    swing=0.05,
)
ONE_PERCENT = 17
"""The place of the key with one percent of all requests."""


def drawn(seed: int, seconds: int, fleet: Fleet = BURSTY, **changes: dict[int, float]) -> StoredRun:
    return window(fleet, random.Random(seed), seconds=seconds, name=f"run-{seed}", times=changes.get("times"))


def seen(diff: Diff) -> Visibility:
    assert diff.visibility is not None
    return diff.visibility


def risen(diff: Diff) -> bool:
    name = BURSTY.keys[ONE_PERCENT]
    return any(one.name == name and one.kind == "risen" for one in diff.of(ComparedKind.KEY))


def test_short_windows_hide_a_doubling() -> None:
    for seed in range(1, 10, 2):
        diff = compare(drawn(seed, 3), drawn(seed + 1, 3, times={ONE_PERCENT: 2.0}))
        assert not risen(diff)
        assert not seen(diff).shows(2.0)


def test_ten_seconds_show_a_doubling() -> None:
    for seed in range(1, 10, 2):
        diff = compare(drawn(seed, 10), drawn(seed + 1, 10, times={ONE_PERCENT: 2.2}))
        assert seen(diff).shows(2.0)
        assert risen(diff)


@pytest.mark.parametrize("seconds", [3, 10, 30])
def test_visible_rise_is_found_and_smaller_is_not(seconds: int) -> None:
    rise = seen(compare(drawn(1, seconds), drawn(2, seconds))).rise
    assert rise is not None
    more = [
        compare(drawn(2 * n, seconds), drawn(2 * n + 1, seconds, times={ONE_PERCENT: 1.5 * rise})) for n in range(8)
    ]
    less = [compare(drawn(2 * n, seconds), drawn(2 * n + 1, seconds, times={ONE_PERCENT: rise**0.3})) for n in range(8)]
    assert sum(map(risen, more)) >= 6
    assert sum(map(risen, less)) <= 2


def test_suggested_window_shows_a_doubling() -> None:
    needed = seen(compare(drawn(1, 3), drawn(2, 3))).window_for(2.0)
    assert needed in (10, 15, 20, 30)
    assert seen(compare(drawn(3, int(needed)), drawn(4, int(needed)))).shows(2.2)


def test_longer_windows_and_more_traffic_show_more() -> None:
    rises = [seen(compare(drawn(1, seconds), drawn(2, seconds))).rise for seconds in (3, 10, 60)]
    assert None not in rises
    assert rises == sorted(rises, key=lambda rise: -(rise or 0))
    busy = replace(BURSTY, rate=100.0)
    slow = seen(compare(drawn(1, 10, busy), drawn(2, 10, busy))).rise
    assert slow is None or slow > 2


def test_nothing_is_visible_without_requests() -> None:
    silent = replace(BURSTY, rate=0.0)
    both = seen(compare(drawn(1, 10, silent), drawn(2, 10, silent)))
    assert (both.rise, both.window_for(2.0)) == (None, None)


def test_no_change_names_what_was_visible() -> None:
    (line,) = diff_lines(compare(drawn(1, 3), drawn(2, 3)), 10)
    assert "no change between run-1 and run-2 beyond bounds and noise (of a key with 1.0% of all requests, none" in line
    steady = replace(BURSTY, bursts=(0.0,) * KEYS, swing=0.0, rate=300_000)
    (line,) = diff_lines(compare(drawn(1, 30, steady), drawn(2, 30, steady)), 10)
    assert "beyond bounds and noise: 4 hosts" in line
