"""Tests with the mark `machines` run only when `-m` names it (`make test-kernels`); the others always run."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the marked tests unless `-m` names them."""
    if "machines" in config.getoption("markexpr"):
        return
    left = [item for item in items if item.get_closest_marker("machines")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
