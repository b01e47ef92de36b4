"""`fleettrace.store.history`: storing and finding runs, retention, and foreign or damaged files."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.store.history.database import History, default_path
from fleettrace.store.history.model import StoredRun, StoredTemplate, result_of, stored_run
from fleettrace.store.history.retention import Retention, parse_retention
from fleettrace.store.history.rows import pack_numbers, unpack_numbers
from fleettrace.store.history.schema import APPLICATION_ID, VERSION
from fleettrace.summary.key import Key
from fleettrace.summary.run import Warn
from tests.report.examples import HOSTILE, realistic, small
from tests.store.diff_traffic import random_fleet, window


def run(name: str, hours: float = 0, keys: int = 30) -> StoredRun:
    """Return a run that started this many hours after the first ones."""
    rng = random.Random(3)
    return window(random_fleet(rng, keys=keys, rate=5e3), rng, seconds=3, name=name, after=timedelta(hours=hours))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the path of a new history."""
    return tmp_path / "below" / "history.db"


def names(store: Path) -> list[str]:
    with History.open(store) as history:
        return [line.run for line in history.runs(1000)]


def test_loaded_run_equals_stored_run(store: Path) -> None:
    families = [StoredTemplate("user:{}:profile", 48_000, 3, 47_000, (1, 2, 70_000))]
    kept = stored_run(realistic(8), families, redaction="hash:0a1b2c3d", playbook="nightly")
    kept = replace(kept, warnings=(*kept.warnings, Warn("odd", "a\nb\x1b[31m", None)))
    with History.open(store, create=True) as history:
        history.add(kept)
        assert history.load(kept.info.id) == kept


def test_keys_of_any_bytes_are_restored(store: Path) -> None:
    kept = run("a")
    keys = [replace(kept.keys[0], key=Key.whole(data)) for data in HOSTILE] + [replace(kept.keys[0], key=Key(b"x", 9))]
    with History.open(store, create=True) as history:
        history.add(replace(kept, keys=tuple(keys)))
        assert history.load("a").keys == tuple(keys)
        assert [point.place for point in history.key_timeline(HOSTILE[7], 5)] == [8]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=70))
def test_numbers_are_packed_and_unpacked(numbers: list[int]) -> None:
    assert unpack_numbers(pack_numbers(numbers)) == tuple(numbers)


@pytest.mark.parametrize("limit", [1, 5, 10_000])
def test_stored_bounds_include_omitted_keys(limit: int) -> None:
    whole = realistic(6)
    kept = stored_run(whole, keys=limit)
    again = result_of(kept).fleet
    for key, known in whole.fleet.keys.items():
        assert known.count is not None
        upper = known.count.requests + whole.fleet.absent - known.count.covered
        count = again.keys[key].count if key in again.keys else None
        if count is not None:
            assert (count.requests, count.requests + again.absent - count.covered) == (known.count.requests, upper)
        else:
            assert upper <= kept.absent
    assert (kept.total, kept.unlisted_max, kept.distinct) == (
        whole.fleet.total,
        whole.fleet.absent,
        len(whole.fleet.keys),
    )


def test_same_id_replaces_run(store: Path) -> None:
    with History.open(store, create=True) as history:
        history.add(run("a"))
        history.add(replace(run("a"), total=7))
        assert [line.requests for line in history.runs(9)] == [7]


def test_find_by_id_prefix_or_last(store: Path) -> None:
    with History.open(store, create=True) as history:
        for number, name in enumerate(["20260101T00-aa", "20260101T01-bb", "20260102T00-cc", "20260102T00-cc2"]):
            history.add(run(name, hours=number))
        assert history.find("20260101T01-bb") == "20260101T01-bb"
        assert history.find("20260101T01") == "20260101T01-bb"
        assert history.find("20260102T00-cc") == "20260102T00-cc"  # a complete id precedes prefixes
        assert (history.find("last"), history.find("last~3")) == ("20260102T00-cc2", "20260101T00-aa")
        with pytest.raises(ConfigError, match=r"beginning of several runs: 20260101T00-aa, 20260101T01-bb$"):
            history.find("20260101")
        with pytest.raises(ConfigError, match="no stored run and no file has the name '%'"):
            history.find("%")
        with pytest.raises(ConfigError, match="there is no run last~4: the history has 4"):
            history.find("last~4")
        with pytest.raises(ConfigError, match="run gone is no longer stored"):
            history.load("gone")


def test_key_and_host_timelines_over_runs(store: Path) -> None:
    with History.open(store, create=True) as history:
        first, second = run("a"), run("b", 1)
        history.add(first)
        history.add(replace(second, keys=second.keys[1:]))
        known = first.keys[0]
        points = history.key_timeline(known.key.data, 9)
        assert [(point.run, point.place, point.requests) for point in points] == [
            ("a", 1, known.requests),
            ("b", None, 0),
        ]
        assert points[1].requests_max == second.absent
        host = first.hosts[0]
        assert [(point.run, point.requests) for point in history.host_timeline(host.host, 1)] == [("b", host.requests)]
        assert history.host_timeline("nobody", 9) == []
        assert history.runs(9, playbook="nightly") == []


def test_retention_never_deletes_newest_run(store: Path) -> None:
    with History.open(store, create=True) as history:
        for number in range(6):
            history.add(run(f"r{number}", hours=number))
        now = run("now", hours=6).info.started
        history.add(run("r6", hours=6), Retention(age=timedelta(hours=4)), now=now)
        assert [line.run for line in history.runs(9)] == ["r2", "r3", "r4", "r5", "r6"]
        history.add(run("r7", hours=7), Retention(runs=3), now=now)
        assert [line.run for line in history.runs(9)] == ["r5", "r6", "r7"]
        history.add(run("r8", hours=8), Retention(size=1), now=now)
        assert [line.run for line in history.runs(9)] == ["r8"]


def test_size_limit_shrinks_file(store: Path) -> None:
    limit = 200 * 1024
    with History.open(store, create=True) as history:
        for number in range(30):
            history.add(run(f"r{number}", hours=number, keys=200), Retention(size=limit))
        assert 3 <= len(history.runs(99)) < 30
    assert store.stat().st_size < 1.2 * limit
    connection = sqlite3.connect(store)
    with connection:
        unused = "SELECT count(*) FROM names WHERE id NOT IN (SELECT name FROM keys)"
        assert connection.execute(unused).fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("90d,3000,1G", Retention(timedelta(days=90), 3000, 1 << 30)),
        ("12h", Retention(age=timedelta(hours=12))),
        ("500M, 2w", Retention(age=timedelta(weeks=2), size=500 << 20)),
        ("all", Retention()),
    ],
)
def test_parse_retention(text: str, limits: Retention) -> None:
    assert parse_retention(text) == limits


@pytest.mark.parametrize("text", ["", "0", "1T", "90 d", "-1", "10,20", "1d,2w", "everything", "٣"])
def test_invalid_retention_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid limit|two limits"):
        parse_retention(text)


def test_history_files_are_private(store: Path) -> None:
    with History.open(store, create=True) as history:
        history.add(run("a"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700


def test_missing_history_is_not_created(store: Path) -> None:
    with pytest.raises(ConfigError, match="there is no history yet"):
        History.open(store)
    assert not store.parent.exists()


def other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (cake TEXT)")
    connection.commit()
    connection.close()


def newer(path: Path) -> None:
    with History.open(path, create=True) as history:
        history.add(run("a"))
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()


def damaged_head(path: Path) -> None:
    newer(path)
    content = bytearray(path.read_bytes())
    content[:16] = b"\0" * 16
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("some text\n" * 100), "not a SQLite database, or its header is damaged"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "not a SQLite database, or its header is damaged"),
        (damaged_head, "not a SQLite database, or its header is damaged"),
        (other_program, "a database of another program"),
        (newer, f"a newer fleettrace wrote this history .version {VERSION + 1}, this one knows {VERSION}"),
    ],
    ids=["text", "short", "damaged", "another program's", "newer"],
)
def test_foreign_file_is_rejected_unchanged(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    path = tmp_path / "history.db"
    make(path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    for create in (False, True):
        with pytest.raises(ConfigError, match=words) as caught:
            History.open(path, create=create)
        assert str(caught.value).startswith(f"{path}: ")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_reading_writes_nothing(store: Path) -> None:
    with History.open(store, create=True) as history:
        history.add(run("a"))
    before = store.read_bytes()
    with History.open(store) as history:
        history.load(history.find("last"))
    assert store.read_bytes() == before


def test_damaged_history_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with History.open(path, create=True) as history:
        history.add(run("a", keys=300))
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xee" * 64
    path.write_bytes(content)
    with History.open(path) as history, pytest.raises(ConfigError, match="the history is damaged"):
        history.load("a")
    with History.open(path, create=True) as history, pytest.raises(ConfigError, match="the history is damaged"):
        history.add(run("b", 1))
    assert path.read_bytes() == bytes(content)


def test_invalid_row_is_an_error(store: Path) -> None:
    with History.open(store, create=True) as history:
        history.add(run("a"))
    connection = sqlite3.connect(store)
    with connection:
        connection.execute("UPDATE hosts SET document = X'00'")
    connection.close()
    with History.open(store) as history, pytest.raises(ConfigError, match="the history is damaged"):
        history.load("a")


def test_endless_writer_is_reported(store: Path) -> None:
    with History.open(store, create=True) as history:
        history.add(run("a"))
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with History.open(store, create=True, wait_s=0.2) as history:
            assert names(store) == ["a"]  # Readers do not wait.
            with pytest.raises(ConfigError, match="another process has been writing"):
                history.add(run("b", 1))
    finally:
        other.close()


def test_full_disk_is_reported(store: Path) -> None:
    with History.open(store, create=True) as history:
        history.add(run("a"))
        history._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(ConfigError, match="the disk is full"):
            history.add(run("b", 1, keys=300))
    assert names(store) == ["a"]


def test_database_has_application_id(store: Path) -> None:
    with History.open(store, create=True):
        pass
    connection = sqlite3.connect(store)
    with connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_default_path_depends_on_user() -> None:
    expected = "/var/lib/fleettrace/history.db" if os.geteuid() == 0 else ".local/share/fleettrace/history.db"
    assert str(default_path()).endswith(expected)


def test_stored_small_run_gives_equal_report(store: Path) -> None:
    from fleettrace.report.build import build_report

    whole = small()
    with History.open(store, create=True) as history:
        history.add(stored_run(whole))
        again = result_of(history.load(whole.info.id))
    assert build_report(again) == build_report(whole)


def audited(name: str, options: str, hours: float = 0, playbook: str = "nightly/all") -> StoredRun:
    """Return a run of a play."""
    run = window(random_fleet(random.Random(3), keys=20), random.Random(4), name=name, after=timedelta(hours=hours))
    return replace(run, playbook=playbook, info=replace(run.info, options=options))


EAST = '{"probe": "auto"}'


def test_run_from_the_future_is_evicted_like_others(tmp_path: Path) -> None:
    keep = Retention(runs=2)
    with History.open(tmp_path / "h.db", create=True) as history:
        for name, hours in (("future", 900), ("r2", 1), ("r3", 2), ("r4", 3)):
            history.add(audited(name, EAST, hours), keep)
        assert {line.run for line in history.runs(9)} == {"r3", "r4"}
