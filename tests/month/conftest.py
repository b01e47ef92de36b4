"""Tests with the mark `month` run only when `-m` names it (`make test-month`); the others always run."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the marked tests."""
    if "month" in config.getoption("markexpr"):
        return
    left = [item for item in items if item.get_closest_marker("month")]
    items[:] = [item for item in items if not item.get_closest_marker("month")]
    config.hook.pytest_deselected(items=left)
