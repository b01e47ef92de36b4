"""What holds for every test: runs that a test makes are kept in a history of the tests' own, not in the machine's; and
which tests may run at the same time."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

_HALVES = {"e2e": "fleet"}
"""Of the folders that have not the half named `rest`. The tests of each half run one after the other, in its fixtures'
fleets; both halves take about as long, most of it waiting for windows to end."""
_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test, and before the fixtures that copy the environment."""
    config.stash[_FOLDER] = tempfile.mkdtemp(prefix="fleettrace-history-")
    os.environ["FLEETTRACE_STORE"] = f"{config.stash[_FOLDER]}/history.db"


def pytest_unconfigure(config: pytest.Config) -> None:
    """After the last one."""
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Share the tests out for `pytest -n 2 --dist loadgroup`, which reads the groups right after the collection."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    item.add_marker(pytest.mark.xdist_group(_HALVES.get(folder, "rest")))
