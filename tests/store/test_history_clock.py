"""`fleettrace.store.history` while the controller's clock is wrong: the order of storing decides, not the clock."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fleettrace.store.history.database import History
from fleettrace.store.history.retention import Retention
from tests.store.test_history import run

AHEAD = 24 * 365 * 4
"""Hours of a clock that is four years ahead."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the path of a new history."""
    return tmp_path / "history.db"


def test_newest_run_is_the_last_stored(store: Path) -> None:
    with History.open(store, create=True) as history:
        for name, hours in (("a", 0), ("future", AHEAD), ("b", 1), ("c", 2)):
            history.add(run(name, hours))
        assert [line.run for line in history.runs(9)] == ["a", "future", "b", "c"]
        assert (history.find("last"), history.find("last~2")) == ("c", "future")
        key = history.load("a").keys[0].key
        assert [point.run for point in history.key_timeline(key.data, 2)] == ["b", "c"]
        assert [point.run for point in history.host_timeline("cache-0", 2)] == ["b", "c"]


def test_clock_that_stepped_back_does_not_pin_the_baseline(store: Path) -> None:
    with History.open(store, create=True) as history:
        for name, hours in (("a", 0), ("future", AHEAD), ("b", 1), ("c", 2)):
            history.add(run(name, hours))
        assert [name for name, _ in history.earlier("", "c")] == ["b", "future", "a"]
        assert [name for name, _ in history.earlier("", "b")] == ["future", "a"]


def test_number_limit_keeps_runs_stored_last(store: Path) -> None:
    with History.open(store, create=True) as history:
        for name, hours in (("a", 0), ("future", AHEAD), ("b", 1), ("c", 2), ("d", 3)):
            history.add(run(name, hours), Retention(runs=3))
        assert [line.run for line in history.runs(9)] == ["b", "c", "d"]


def test_clock_ahead_does_not_evict_genuine_runs(store: Path) -> None:
    limit = Retention(age=timedelta(days=90))
    with History.open(store, create=True) as history:
        for name, hours in (("a", 0), ("b", 1), ("f1", AHEAD), ("f2", AHEAD + 1)):
            stored = run(name, hours)
            history.add(stored, limit, now=stored.info.started)
        assert [line.run for line in history.runs(9)] == ["a", "b", "f1", "f2"]
        back = run("c", 2)
        history.add(back, limit, now=back.info.started)
        assert [line.run for line in history.runs(9)] == ["a", "b", "f1", "f2", "c"]


def test_age_limit_applies_again_after_a_pause(store: Path) -> None:
    limit = Retention(age=timedelta(days=90))
    with History.open(store, create=True) as history:
        for number in range(12):
            stored = run(f"r{number}", number if number < 2 else AHEAD + number)
            history.add(stored, limit, now=stored.info.started)
        assert [line.run for line in history.runs(99)] == [f"r{number}" for number in range(2, 12)]


def test_stored_again_a_run_stays_at_its_place(store: Path) -> None:
    with History.open(store, create=True) as history:
        for name in ("a", "b", "a"):
            history.add(run(name))
        assert [line.run for line in history.runs(9)] == ["a", "b"]
