"""A writer killed at any step leaves the history unchanged, or with the complete run in it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from fleettrace.store.history.database import History
from fleettrace.store.history.model import StoredRun
from tests.store.diff_traffic import random_fleet, window
from tests.store.history_killed_writer import new_run

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library that kills a process at a step of its writing."""
    library = tmp_path_factory.mktemp("killing") / "killing.so"
    source = HERE / "history_killing.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def runs(number: int) -> list[StoredRun]:
    rng = random.Random(2)
    fleet = random_fleet(rng, keys=60, rate=5e3)
    return [window(fleet, rng, seconds=3, name=f"old-{n}", after=timedelta(hours=n)) for n in range(number)]


def killed_at_every_step(killing: Path, directory: Path, template: Path) -> list[Path]:
    """Return the stores: one for each step at which its writer was killed, and that of the completed writer."""
    environ = os.environ | {"LD_PRELOAD": str(killing)}
    command = [sys.executable, "-m", "tests.store.history_killed_writer", *map(str, (killing, directory, template))]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1].endswith(" through")
    return [directory / f"{line.split()[0]}.db" for line in lines]


def test_kill_leaves_only_complete_runs(killing: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.db"
    old = runs(3)
    with History.open(template, create=True) as history:
        for run in old:
            history.add(run)
    stores = killed_at_every_step(killing, tmp_path, template)
    assert len(stores) > 10
    expected = {run.info.id: run for run in [*old, new_run("new"), new_run("later")]}
    outcomes = set()
    for store in stores:
        with History.open(store) as history:
            names = [line.run for line in history.runs(9)]
            outcomes.add(tuple(names))
            for name in names:
                assert history.load(name) == expected[name]
            history.add(expected["later"])  # It can still be written.
            assert history.find("last") == "later"
    assert outcomes == {("old-0", "old-1", "old-2"), ("old-1", "old-2", "new")}


def test_kill_in_first_run_leaves_valid_history(killing: Path, tmp_path: Path) -> None:
    stores = killed_at_every_step(killing, tmp_path, tmp_path / "none.db")
    assert len(stores) > 10
    for store in stores[:-1]:
        if store.exists():
            with History.open(store, create=True) as history:
                assert [line.run for line in history.runs(9)] in ([], ["new"])
                history.add(new_run("later"))
                assert history.load("later") == new_run("later")


def test_concurrent_writers_are_both_stored(tmp_path: Path) -> None:
    store, program = tmp_path / "history.db", HERE / "history_writer.py"
    writers = [
        subprocess.Popen([sys.executable, "-m", f"tests.store.{program.stem}", store, name, "8"], cwd=ROOT)
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with History.open(store) as history:
        names = [line.run for line in history.runs(99)]
        assert sorted(names) == sorted(f"{writer}-{number}" for writer in "abc" for number in range(8))
        assert all(len(history.load(name).keys) == 60 for name in names)


def test_killed_writer_does_not_block_next(tmp_path: Path) -> None:
    store = tmp_path / "history.db"
    writer = subprocess.Popen([sys.executable, "-m", "tests.store.history_writer", store, "a", "100000"], cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        while not store.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    began = time.monotonic()
    with History.open(store, create=True) as history:
        history.add(runs(1)[0])
        assert all(len(history.load(line.run).keys) > 0 for line in history.runs(5))
    assert time.monotonic() - began < 5
