"""Inventories in the shapes that sites have are read as Ansible reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inventory.corpus import CASES, PAGE, compared, page


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.mark.parametrize("name", CASES)
def test_reading_equals_ansibles(directory: Path, name: str) -> None:
    theirs, ours, verdict = compared(directory)[name]
    if not CASES[name].why:
        assert verdict == "equal"
    # No host is lost in silence.
    assert ours >= theirs or verdict.startswith("refused")


def test_nearly_all_inventories_are_read(directory: Path) -> None:
    verdicts = [verdict for _, _, verdict in compared(directory).values()]
    assert len(verdicts) >= 60
    assert verdicts.count("equal") >= 0.95 * len(verdicts)


def test_page_is_current(directory: Path) -> None:
    assert PAGE.read_text() == page(directory)
