"""Histories, run files, playbooks and inventories of every released version are read for ever.

`released/history-N.db.gz` was written by the code with version N of the database, `run-N.run` by that with version N of
the run file, and `released/VERSION/` by that version of fleettrace. A new version adds its files; none is ever written
again.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleettrace import __version__
from fleettrace.app.history import read_run
from fleettrace.store.diff.compare import compare
from fleettrace.store.history.database import History
from fleettrace.store.history.schema import VERSION
from fleettrace.store.runfile.writer import SCHEMA
from tests.store.write_released import AS_JSON, RELEASED, output_of

VERSIONS = sorted(path for path in RELEASED.iterdir() if path.is_dir())


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_history_of_each_version_is_read_and_written(tmp_path: Path, version: int) -> None:
    store = tmp_path / "history.db"
    store.write_bytes(gzip.decompress((RELEASED / f"history-{version}.db.gz").read_bytes()))
    with History.open(store) as history:
        assert [line.run for line in history.runs(9)] == ["run-0", "run-1", "run-2"]
        first, second, third = (history.load(f"run-{number}") for number in range(3))
        assert [len(run.keys) for run in (first, second, third)] == [12, 9, 12]
        assert [host.state.value for host in second.hosts] == ["ok", "unreachable", "ok"]
        assert (first.playbook, third.playbook, third.inventory) == ("", "audit/fleet", "")
        assert first.total > 100_000
        diff = compare(first, third)
        assert (diff.hosts, diff.changes) == (("cache-0", "cache-1", "cache-2"), ())
        assert [name for name, likeness in history.earlier("audit/fleet", "run-2") if likeness == third.likeness] == [
            "run-1"
        ]
        history.add(third)
    with History.open(store) as history:
        assert history.load("run-2").keys == third.keys


def test_run_file_of_each_version_is_read() -> None:
    versions = int(SCHEMA.rpartition("/")[2])
    assert sorted(path.name for path in RELEASED.glob("*.run")) == [f"run-{n + 1}.run" for n in range(versions)]
    for number in range(versions):
        run = read_run(str(RELEASED / f"run-{number + 1}.run"), 10)
        assert (run.info.id, run.fleet.total, run.fleet.absent) == ("20260921T031204Z-5f2c", 300, 2)
        counts = {key.data: known.count for key, known in run.fleet.keys.items()}
        assert {name: count and (count.requests, count.ops, count.misses) for name, count in counts.items()} == {
            b"user:1:profile": (200, {"get": 190, "set": 10}, 3),
            b"a\nb": (90, {"get": 90}, None),
        }
        assert [(host.host, host.state.value) for host in run.hosts] == [("cache-1", "ok"), ("cache-2", "unreachable")]


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def released(request: pytest.FixtureRequest) -> Path:
    """The files of one released version."""
    directory: Path = request.param
    return directory


def changes(older: Any, newer: Any, place: str = "") -> Iterator[str]:
    """Yield the places where a newer document lacks what an older one has. Added fields are no change."""
    if isinstance(older, dict) and isinstance(newer, dict):
        for name, value in older.items():
            yield from changes(value, newer.get(name, "missing"), f"{place}/{name}")
    elif isinstance(older, list) and isinstance(newer, list) and len(older) == len(newer):
        for number, (left, right) in enumerate(zip(older, newer, strict=True)):
            yield from changes(left, right, f"{place}/{number}")
    elif older != newer:
        yield f"{place}: {older} became {newer}"


def test_this_version_has_its_files() -> None:
    assert __version__ in [path.name for path in VERSIONS], "run: python -m tests.store.write_released"


def test_released_run_file_gives_the_same_report(released: Path, tmp_path: Path) -> None:
    report = json.loads(output_of(tmp_path / "none.db", "report", str(released / "sweep.run"), *AS_JSON))
    assert [*changes(json.loads((released / "report-of-sweep.json").read_text()), report)] == []
    assert report["run"]["version"] == released.name
    assert len(report["keys"]) == 6


def test_released_history_gives_the_same_report(released: Path, tmp_path: Path) -> None:
    store = tmp_path / "history.db"
    store.write_bytes(gzip.decompress((released / "history.db.gz").read_bytes()))
    report = json.loads(output_of(store, "report", "last~1", *AS_JSON))
    assert [*changes(json.loads((released / "report-of-history.json").read_text()), report)] == []


def test_released_playbooks_are_valid(released: Path, tmp_path: Path) -> None:
    playbooks = sorted(map(str, (released / "playbooks").glob("*.yaml")))
    assert len(playbooks) == 5
    output_of(tmp_path / "none.db", "play", "--syntax-check", *playbooks)


def test_released_inventory_has_the_same_hosts(released: Path, tmp_path: Path) -> None:
    shown = output_of(tmp_path / "none.db", "hosts", "-i", str(released / "inventory.yaml"), "--output", "json")
    assert [*changes(json.loads((released / "hosts.json").read_text()), json.loads(shown))] == []
