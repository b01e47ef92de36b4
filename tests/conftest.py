"""Settings for every test: its runs go into a private history; hypothesis examples have no deadline, because on a busy
machine their time proves nothing; and the scheduler decides which tests may run at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

settings.register_profile("fleettrace", deadline=None)
settings.load_profile("fleettrace")

_HALVES = dict.fromkeys(("e2e", "report", "store"), "fleet")
"""The half of each directory below tests/; `rest` for all others. A worker runs one half in order, in the fleets of its
fixtures; both halves take about as long, most of it waiting for windows to end."""
_OWN_TARGETS = ("cron", "dist", "month")
_DIRECTORY = pytest.StashKey[str]()
_TRACEFS = Path("/sys/kernel/tracing")
_MOUNTED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Mount tracefs where the machine does not, and create the history, before any fixture copies the environment."""
    ours = not hasattr(config, "workerinput") and os.geteuid() == 0 and not (_TRACEFS / "uprobe_events").exists()
    config.stash[_MOUNTED] = ours and subprocess.call(["mount", "-t", "tracefs", "tracefs", _TRACEFS]) == 0
    config.stash[_DIRECTORY] = tempfile.mkdtemp(prefix="fleettrace-history-")
    os.environ["FLEETTRACE_STORE"] = f"{config.stash[_DIRECTORY]}/history.db"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of `make test-cron`, `make test-dist` and `make test-month` unless `-m` names their mark."""
    left = [item for item in items if any(item.get_closest_marker(name) for name in _OWN_TARGETS)]
    if not any(name in config.getoption("markexpr") for name in _OWN_TARGETS):
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the history, and the mount of tracefs."""
    if config.stash[_MOUNTED]:
        subprocess.call(["umount", "-l", _TRACEFS])
    shutil.rmtree(config.stash[_DIRECTORY], ignore_errors=True)


class _Halves(LoadScopeScheduling):  # type: ignore[misc]
    """Give each worker of `pytest -n 2` one half of the tests, and of tests/machines one machine at a time."""

    def _split_scope(self, nodeid: str) -> str:
        if self.config.getoption("markexpr") == "machines":
            return nodeid
        return _HALVES.get(Path(nodeid).parts[1], "rest")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Return the scheduler. xdist's own groups have no effect under pytest 9.2, which does not change a test's name."""
    return _Halves(config, log)
