"""`--limit @FILE/failed` stands for the hosts that a run did not trace to the end, whatever the run was kept as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleettrace.app.failed_hosts import with_failed
from fleettrace.errors import ConfigError, HostState
from fleettrace.store.runfile.writer import RunFileWriter
from fleettrace.summary.run import Failure, HostResult
from tests.store.runs import info

STATES = {"a": HostState.OK, "b": HostState.UNREACHABLE, "fe80::1": HostState.PARTIAL, "d": HostState.NO_INSTANCES}


def kept(place: Path, states: dict[str, HostState]) -> Path:
    if place.suffix == ".json":
        hosts = [{"host": name, "state": state.value} for name, state in states.items()]
        place.write_text(json.dumps({"schema": "fleettrace/report/1", "hosts": hosts}))
        return place
    with RunFileWriter(place) as writer:
        for number, (name, state) in enumerate(states.items()):
            error = None if state in (HostState.OK, HostState.NO_INSTANCES) else Failure("x", "it was so")
            writer.add("r", HostResult(name, state, error), {}, place=number)
        writer.finish([info("r")])
    return place


@pytest.mark.parametrize("name", ["run.json", "run.ftr"])
def test_failed_hosts_replace_the_limit(tmp_path: Path, name: str) -> None:
    run = kept(tmp_path / name, STATES)
    assert with_failed(f"@{run}/failed") == "b,fe80::1,"
    assert with_failed(f"@{run}/failed,&cache,!b") == "b,fe80::1,&cache,!b,"


@pytest.mark.parametrize("name", ["run.json", "run.ftr"])
def test_where_nothing_failed_there_is_nothing_to_do(tmp_path: Path, name: str) -> None:
    run = kept(tmp_path / name, {"a": HostState.OK})
    with pytest.raises(ConfigError, match=r"run\.\w+: no host failed in this run"):
        with_failed(f"@{run}/failed")


@pytest.mark.parametrize("limit", [None, "cache:!web", "@hosts.txt", "failed", "@no/such/failed"])
def test_every_other_limit_is_as_it_was(limit: str | None) -> None:
    assert (with_failed(limit) or "").rstrip(",") == (limit or "")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "other/1", "hosts": []}', "\x00"])
def test_wrong_run_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(ConfigError, match="neither a run file nor a JSON report"):
        with_failed(f"@{tmp_path}/x/failed")


def test_file_named_failed_is_a_host_list(tmp_path: Path) -> None:
    (tmp_path / "failed").write_text("a\n")
    limit = f"@{tmp_path}/failed"
    assert with_failed(limit) == f"{limit},"
