"""The stats of instances in run files and the history: restored, joined over runs, refused if invalid."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.store.history.database import History
from fleettrace.store.history.model import stored_run
from fleettrace.store.runfile.codec import host_document, host_of
from fleettrace.store.runfile.merge import read_merged
from fleettrace.store.runfile.reader import HostRecord
from fleettrace.store.runfile.run_result import run_result
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.host_stats import HostStats, joined
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult
from tests.report.test_host_stats import EVICTING, fleet
from tests.store.runs import Swept, host_result, write


def swept(run: str, stats: HostStats | None) -> Swept:
    counted = {"7@1": Summary(9, 0, {Key.whole(b"a"): KeyCount(9, 0, None, None, None, [9])}, [9])}
    host = host_result("c1", counted)
    host.instances[0].stats = stats
    return Swept(run, [(host, counted)])


def stats_of(path: Path, *others: Path) -> HostStats | None:
    return run_result(read_merged([path, *others])).hosts[0].instances[0].stats


@pytest.mark.parametrize("stats", [EVICTING, None, HostStats(unknown={"evictions": "no answer"})])
def test_run_file_restores_stats(tmp_path: Path, stats: HostStats | None) -> None:
    found = stats_of(write(tmp_path / "run", swept("run-1", stats)))
    assert found == stats


def test_successive_runs_are_added(tmp_path: Path) -> None:
    paths = [write(tmp_path / run, swept(run, EVICTING)) for run in ("run-1", "run-2")]
    found = stats_of(*paths)
    assert found == joined(EVICTING, EVICTING)
    assert found is not None
    assert (found.evictions, found.seconds) == (24_000, 20)


def test_run_without_stats_makes_the_sum_unknown(tmp_path: Path) -> None:
    paths = [write(tmp_path / run, swept(run, stats)) for run, stats in (("run-1", None), ("run-2", EVICTING))]
    assert stats_of(*paths) is None


def test_history_restores_stats(tmp_path: Path) -> None:
    stored = stored_run(fleet())
    with History.open(tmp_path / "history.db", create=True) as history:
        history.add(stored)
        assert history.load(stored.info.id).hosts == stored.hosts


def test_document_of_an_older_version_has_no_stats() -> None:
    document = host_document(swept("run-1", EVICTING).hosts[0][0])
    del document["instances"][0]["stats"]
    assert host_of(document).instances[0].stats is None


@pytest.mark.parametrize("lie", [{"evictions": 2**64}, {"bytes_written": -1}, {"seconds": "x"}, [], "x"])
def test_invalid_stats_are_refused(tmp_path: Path, lie: object) -> None:
    document = host_document(swept("run-1", EVICTING).hosts[0][0])
    document["instances"][0]["stats"] = lie
    with pytest.raises(ConfigError, match="the host before it is invalid"):
        assert isinstance(HostRecord(tmp_path / "run", document, 0).result, HostResult)
