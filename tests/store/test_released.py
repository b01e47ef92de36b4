"""Histories and run files of every released version are read for ever.

`released/history-N.db.gz` was written by the code with version N of the database, `run-N.run` by that with version N of
the run file. A new version adds its file; none is ever written again.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fleettrace.app.history import read_run
from fleettrace.store.diff.compare import compare
from fleettrace.store.history.database import History
from fleettrace.store.history.schema import VERSION
from fleettrace.store.runfile.writer import SCHEMA

RELEASED = Path(__file__).parent / "released"


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
