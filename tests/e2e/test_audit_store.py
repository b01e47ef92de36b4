"""An audit that cannot use its history has failed: exit code, metric and stamp say so, and people are notified once.

The sweep is replaced by a scripted fleet (tests/month); playbook, history, notices and files are real.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fleettrace.store.history import database
from tests.month.audit import Audit

Fault = Callable[[Path], "Iterator[None]"]

_BOOK = """\
- name: fleet
  hosts: all
  sweep: {{duration: 10s, quiet: true}}
  rules:
    - {{when: "key.share > 12%", severity: high}}
    - changed since baseline
  notify:
    - command: [/bin/sh, -c, 'cat >> {notices_file}']
    - textfile: {metrics}
    - stamp: {stamp}
"""


@contextmanager
def damaged(store: Path, content: bytes | None) -> Iterator[None]:
    """Replace the file by other content; by its first half, for None."""
    aside = store.with_suffix(".aside")
    store.rename(aside)
    store.write_bytes(aside.read_bytes()[: aside.stat().st_size // 2] if content is None else content)
    yield
    for suffix in ("", "-wal", "-shm"):
        Path(f"{store}{suffix}").unlink(missing_ok=True)
    aside.rename(store)


@contextmanager
def newer(store: Path) -> Iterator[None]:
    connection = sqlite3.connect(store)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    yield
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()


@contextmanager
def full(store: Path) -> Iterator[None]:
    filler = store.parent / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(file, bytes(4096)):
            pass
    os.close(file)
    yield
    filler.unlink()


@contextmanager
def read_only(store: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", store.parent], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", store.parent], check=True)


@contextmanager
def locked(store: Path) -> Iterator[None]:
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


_FAULTS = {
    "garbage": lambda store: damaged(store, b"no database" * 1000),
    "truncated": lambda store: damaged(store, None),
    "newer schema": newer,
    "disk full": full,
    "read-only": read_only,
    "locked": locked,
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def metric(path: Path, name: str) -> float:
    return next(float(line.split()[-1]) for line in path.read_text().splitlines() if line.startswith(f"{name}{{"))


@pytest.mark.parametrize("fault", _FAULTS)
def test_unusable_history_fails_the_audit(
    fault: str,
    tmp_path: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(database.History.open.__func__, "__kwdefaults__", {"create": False, "wait_s": 0.3})  # type: ignore[attr-defined]
    notices_file, metrics, stamp = (tmp_path / name for name in ("notices_file", "audit.prom", "stamp"))
    book = _BOOK.format(notices_file=notices_file, metrics=metrics, stamp=stamp)
    audit = Audit(tmp_path, monkeypatch, 1, playbook=book, store=small_disk / "history.db")
    assert audit.run(1).code == 1
    assert (metric(metrics, "fleettrace_audit_succeeded"), stamp.exists()) == (1, True)
    success, stamped = metric(metrics, "fleettrace_audit_last_success_timestamp_seconds"), stamp.read_text()
    capfd.readouterr()
    notices_file.unlink()
    time.sleep(1.1)
    with _FAULTS[fault](small_disk / "history.db"):
        outcomes = [audit.run(hour) for hour in (2, 3)]
        printed = capfd.readouterr().out
    assert [one.code for one in outcomes] == [2, 2]
    for one in outcomes:
        assert any("key.share > 12%" in line for line in one.lines), "what can be judged is judged"
    assert metric(metrics, "fleettrace_audit_succeeded") == 0
    assert metric(metrics, "fleettrace_audit_exit_code") == 2
    assert metric(metrics, "fleettrace_audit_last_success_timestamp_seconds") == success
    assert stamp.read_text() == stamped
    notices = [json.loads(line) for line in notices_file.read_text().splitlines()]
    assert [(one["succeeded"], one["exit_code"]) for one in notices] == [(False, 2)]
    assert any("the run is not stored" in problem for problem in notices[0]["problems"])
    assert printed.count("failed with exit code 2") == 1
    assert "fleettrace report" not in printed, "the run is not stored"
    audit.run(4)
    notices = [json.loads(line) for line in notices_file.read_text().splitlines()]
    assert notices[-1]["succeeded"] is True
    assert f"fleettrace report run-4 --store {small_disk}/history.db" in capfd.readouterr().out
