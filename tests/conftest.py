"""What holds for every test: runs that a test makes are kept in a history of the tests' own, not in the machine's."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test, and before the fixtures that copy the environment."""
    config.stash[_FOLDER] = tempfile.mkdtemp(prefix="fleettrace-history-")
    os.environ["FLEETTRACE_STORE"] = f"{config.stash[_FOLDER]}/history.db"


def pytest_unconfigure(config: pytest.Config) -> None:
    """After the last one."""
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)
