"""Run files written during a sweep (`--save`)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleettrace.app.redaction import Redaction
from fleettrace.app.run_file import RunFileSaver
from fleettrace.errors import ConfigError, HostState
from fleettrace.report.redact import Redact, redact
from fleettrace.store.runfile.merge import read_merged
from fleettrace.store.runfile.run_result import run_result
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult, RunInfo, RunResult, Warn
from fleettrace.sweep.events import HostFinished, RunStarted
from tests.store.runs import host_result

AS_THEY_ARE = Redaction()
HASHED = Redaction(Redact.HASH, b"0123456789abcdef")
INFO = RunInfo("r", datetime(2026, 1, 1, tzinfo=UTC), "all", 10.0, "0")


def counted(name: bytes) -> dict[str, Summary]:
    keys = {Key.whole(name): KeyCount(9, 1, timeline=[9]), Key.whole(b"both"): KeyCount(4, 2, timeline=[4])}
    return {"7@1": Summary(15, 2, keys, [15])}


def swept(saver: RunFileSaver) -> RunResult:
    """Two hosts finish in the other order than they are reported in, and one is never begun."""
    hosts = {name: host_result(name, counted(name.encode())) for name in ("c1", "c2")}
    hosts["c3"] = HostResult("c3", HostState.SKIPPED)
    result = RunResult(INFO, list(hosts.values()), warnings=[Warn("late", "c2 is late", "c2"), Warn("odd", "so it is")])
    saver.order(list(hosts))
    saver(RunStarted("r", 3, 10.0))
    for name in ("c2", "c1"):
        warnings = result.warnings[:1] if name == "c2" else []
        saver(HostFinished(name, HostState.OK, hosts[name], counted(name.encode()), warnings))
        result.fleet.add_host("r", name, counted(name.encode()))
    saver(HostFinished("c3", HostState.SKIPPED, hosts["c3"]))
    return result


def test_saved_run_equals_the_result(tmp_path: Path) -> None:
    with RunFileSaver(tmp_path / "run", AS_THEY_ARE) as saver:
        result = swept(saver)
        saver.finish(result)
    kept = run_result(read_merged([tmp_path / "run"]))
    assert (kept.info, kept.hosts, kept.warnings) == (result.info, result.hosts, result.warnings)
    assert kept.fleet.rank(9) == result.fleet.rank(9)


def test_keys_are_redacted_before_saving(tmp_path: Path) -> None:
    with RunFileSaver(tmp_path / "run", HASHED) as saver:
        result = swept(saver)
        saver.finish(result)
    kept = run_result(read_merged([tmp_path / "run"]))
    hidden = redact(result, Redact.HASH, HASHED.secret)
    assert kept.hosts == hidden.hosts
    assert kept.fleet.rank(9) == hidden.fleet.rank(9)
    assert Key.whole(b"both") not in kept.fleet.keys


def test_dropped_keys_leave_hosts_and_totals(tmp_path: Path) -> None:
    with RunFileSaver(tmp_path / "run", Redaction(Redact.DROP)) as saver:
        saver.finish(swept(saver))
    kept = run_result(read_merged([tmp_path / "run"]))
    assert (kept.fleet.keys, kept.fleet.total) == ({}, 30)
    assert kept.fleet.absent >= 9
    assert [host.top for host in kept.hosts] == [[], [], []]


def test_unfinished_sweep_leaves_no_file(tmp_path: Path) -> None:
    with RunFileSaver(tmp_path / "run", AS_THEY_ARE) as saver:
        swept(saver)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_reported_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFileSaver(tmp_path / "run", AS_THEY_ARE) as saver:

        def refuse(*_: object) -> None:
            raise ConfigError("cannot write run: No space left on device")

        monkeypatch.setattr(saver._writer, "add", refuse)
        result = swept(saver)
        with pytest.raises(ConfigError, match="No space left"):
            saver.finish(result)
    assert list(tmp_path.iterdir()) == []
