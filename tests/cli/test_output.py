"""A report's file is the old one or the new one, never half of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.cli.output import check_writable, write_file
from fleettrace.errors import ConfigError


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    place = tmp_path / "report.json"
    place.write_text("old")
    with place.open() as reader:
        write_file(place, "new")
        assert reader.read() == "old"
    assert place.read_text() == "new"
    assert list(tmp_path.iterdir()) == [place]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write .*folder"):
        write_file(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_place_that_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    check_writable(None)
    check_writable(str(tmp_path / "report.json"))
    with pytest.raises(ConfigError, match="there is no folder"):
        check_writable(str(tmp_path / "nowhere/report.json"))
    with pytest.raises(ConfigError, match="it is no folder"):
        check_writable(str(tmp_path))
