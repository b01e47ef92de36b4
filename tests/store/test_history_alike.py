"""Which stored runs are compared: like with like, and histories of earlier versions are read for ever."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.app.history import find_baseline
from fleettrace.store.history.alike import Likeness
from fleettrace.store.history.database import History
from fleettrace.store.history.model import StoredRun
from tests.store.test_history import run

AUDIT = {"playbook": "nightly/fleet", "playbook_file": "/etc/nightly.yaml", "inventory": "/etc/fleet.yaml"}
ALL = json.dumps({"probe": "auto"})
GETS = json.dumps({"ops": ["get"], "probe": "auto"})


def alike(name: str, options: str = ALL, pattern: str = "all", **parts: str) -> StoredRun:
    """Return a run of the audit with these parts of its likeness changed."""
    made = run(name)
    info = replace(made.info, options=options, pattern=pattern)
    return replace(made, info=info, **{**AUDIT, **parts})  # type: ignore[arg-type]


def newest(history: History, stored: StoredRun) -> str:
    """Return the newest run that this one is compared with."""
    baseline, why = find_baseline(history, stored)
    assert baseline is not None, why
    return baseline.newest.info.id


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (alike("b", inventory="/etc/other.yaml"), "the inventory"),
        (alike("b", playbook_file="/root/nightly.yaml"), "the playbook's file"),
        (alike("b", pattern="cache-*"), "the host pattern"),
        (alike("b", options=GETS), "--ops"),
        (alike("b", options=json.dumps({"probe": "watch"})), "--probe"),
    ],
    ids=["inventory", "file", "pattern", "ops", "probe"],
)
def test_run_that_counts_something_else_is_skipped(tmp_path: Path, other: StoredRun, differs: str) -> None:
    with History.open(tmp_path / "h.db", create=True) as history:
        history.add(alike("a"))
        history.add(other)
        history.add(alike("c"))
        assert newest(history, alike("c")) == "a"
        assert find_baseline(history, other) == (None, f"a differs in {differs}")


def test_first_run_of_its_kind_has_no_baseline(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.db", create=True) as history:
        history.add(alike("a"))
        assert find_baseline(history, alike("a")) == (None, "it is the first of its kind")


def test_window_and_rules_may_differ() -> None:
    longer = alike("b")
    longer = replace(longer, info=replace(longer.info, duration_s=30.0))
    assert longer.likeness == alike("a").likeness


def test_options_of_unknown_form_are_compared_as_text() -> None:
    assert Likeness("", "", "", "all", "[odd").differences(Likeness("", "", "", "all", "")) == ("--options",)


def test_history_of_version_1_is_read_and_extended(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with History.open(path, create=True) as history:
        history.add(run("a"))
    connection = sqlite3.connect(path)
    connection.execute("DROP INDEX runs_by_playbook")
    for column in ("playbook_file", "inventory"):
        connection.execute(f"ALTER TABLE runs DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with History.open(path, create=True) as history:
        assert history.load("a") == run("a")
        history.add(run("b", 1))
        assert newest(history, run("b", 1)) == "a"
