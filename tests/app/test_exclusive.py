"""Locks and delays of scheduled runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleettrace.app.exclusive import lock_directory, run_lock, splay_s
from fleettrace.errors import BusyError, ConfigError
from tests.e2e.command import environment

COMMAND = "fleettrace run --hosts cache"


def held(directory: Path, inventory: str = "/i.yaml", name: str = "cache", *, mailed: bool = True) -> BusyError | None:
    """Take the lock and give it back; the error when it cannot be had."""
    try:
        with run_lock(directory, inventory, name, COMMAND, mailed=mailed):
            return None
    except BusyError as error:
        return error


def test_second_run_is_refused_naming_the_first(tmp_path: Path) -> None:
    with run_lock(tmp_path, "/i.yaml", "cache", COMMAND + "\x1b[31m"):
        error = held(tmp_path)
        assert error is not None
        assert re.sub(r"since [0-9T:-]{19}Z", "since then", str(error)) == (
            f"another run of 'cache' is under way for /i.yaml (pid {os.getpid()}, since then: fleettrace run --hosts "
            "cache?[31m): wait for its end, or give this one another --name"
        )
    assert held(tmp_path) is None


def test_refusal_is_repeated_until_the_lock_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        with run_lock(tmp_path, "/i.yaml", "cache", COMMAND):
            refused = [held(tmp_path) for _ in range(3)]
            assert [one is not None and one.repeated for one in refused] == [False, True, True]
            assert held(tmp_path, name="other") is None
        assert held(tmp_path) is None


def test_refusal_on_a_terminal_leaves_the_first_mail(tmp_path: Path) -> None:
    with run_lock(tmp_path, "/i.yaml", "cache", COMMAND):
        for mailed, repeated in ((False, False), (True, False), (False, True), (True, True)):
            error = held(tmp_path, mailed=mailed)
            assert error is not None and error.repeated is repeated


@pytest.mark.parametrize(("inventory", "name"), [("/other.yaml", "cache"), ("/i.yaml", "other"), ("/i.yaml", "../x y")])
def test_another_inventory_or_name_is_another_lock(tmp_path: Path, inventory: str, name: str) -> None:
    with run_lock(tmp_path, "/i.yaml", "cache", COMMAND):
        assert held(tmp_path, inventory, name) is None
    assert all(path.parent == tmp_path for path in tmp_path.rglob("*"))


def test_a_run_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from fleettrace.app.exclusive import run_lock\n"
        "with run_lock(pathlib.Path(sys.argv[1]), '/i.yaml', 'cache', 'x'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        error = held(tmp_path)
        assert error is not None
        assert f"pid {holder.pid}" in str(error)
        holder.send_signal(signal.SIGKILL)
    assert held(tmp_path) is None


def test_lock_file_with_garbage_still_locks(tmp_path: Path) -> None:
    with run_lock(tmp_path, "/i.yaml", "cache", COMMAND):
        [file] = tmp_path.iterdir()
        file.write_text("{]")
        error = held(tmp_path)
    assert error is not None
    assert str(error).startswith("another run of 'cache' is under way for /i.yaml: wait")


def test_lock_directory_is_private_to_the_user(tmp_path: Path) -> None:
    linked, open_, fine = (tmp_path / name for name in ("linked", "open", "fine"))
    (tmp_path / "elsewhere").mkdir()
    linked.symlink_to(tmp_path / "elsewhere")
    open_.mkdir()
    open_.chmod(0o777)
    missing = tmp_path / "no" / "such"
    assert lock_directory({}, [missing, linked, open_, fine]) == fine
    assert fine.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="no directory for locks: make one of"):
        lock_directory({}, [linked, open_])


def test_the_splay_is_spread_and_stays_the_same() -> None:
    waits = [splay_s(300, f"host-{number}", "/i.yaml", "cache") for number in range(200)]
    assert waits == [splay_s(300, f"host-{number}", "/i.yaml", "cache") for number in range(200)]
    assert all(0 <= wait < 300 for wait in waits)
    assert all(sum(low <= wait < low + 60 for wait in waits) > 15 for low in range(0, 300, 60))
