"""A report's file is the old one or the new one, never half of one."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest

from fleettrace.cli.output import check_writable, report_writer, write_file
from fleettrace.cli.parser import FORMATS, parse
from fleettrace.errors import ConfigError
from fleettrace.report.formats import Output
from tests.report.examples import realistic


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


def test_links_permissions_and_devices_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_file(link, "new")
    assert (link.is_symlink(), real.read_text(), stat.S_IMODE(real.stat().st_mode)) == (True, "new", 0o640)
    write_file(Path("/dev/null"), "new")
    assert Path("/dev/null").is_char_device()


def test_every_format_has_its_word() -> None:
    assert list(FORMATS) == [output.value for output in Output]


@pytest.mark.parametrize("output", FORMATS)
def test_a_file_and_a_pipe_get_the_same_bytes_in_every_format(
    output: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    place = tmp_path / "report"
    report_writer(parse(["run", "--output", output, "-o", str(place)], {})).write(realistic())
    report_writer(parse(["run", "--output", output], {})).write(realistic())
    assert place.read_bytes() == capfdbinary.readouterr().out


def test_lines_of_csv_end_as_the_standard_says(tmp_path: Path) -> None:
    place = tmp_path / "report.csv"
    report_writer(parse(["run", "--output", "csv", "-o", str(place)], {})).write(realistic())
    data = place.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n") > 10
    assert len(list(csv.DictReader(io.StringIO(data.decode(), newline="")))) > 10


def test_a_page_comes_beside_the_main_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    page = tmp_path / "page.html"
    report_writer(parse(["run", "--output", "json", "--html", str(page)], {})).write(realistic())
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(capfdbinary.readouterr().out)["schema"] == "fleettrace/report/1"


def test_keys_become_labels_by_choice(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    report_writer(parse(["run", "--output", "prometheus"], {})).write(realistic())
    assert b"user:1:profile" not in capfdbinary.readouterr().out
    report_writer(parse(["run", "--output", "prometheus", "--prometheus-keys"], {})).write(realistic())
    assert b'key="user:1:profile"' in capfdbinary.readouterr().out


def test_a_terminal_that_knows_ascii_only_gets_no_error(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with os.fdopen(os.dup(1), "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        report_writer(parse(["run"], {})).write(realistic())
    assert capfdbinary.readouterr().out.isascii()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--html", "/nowhere/page.html"], "there is no folder /nowhere"),
        (["--html", "report", "-o", "./report"], "-o and --html both name report"),
        (["--prometheus-keys"], "--prometheus-keys with --output table: it is for --output prometheus"),
    ],
)
def test_what_cannot_be_had_together_is_one_clear_line(options: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        report_writer(parse(["run", *options], {}))


def test_a_page_is_not_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(ConfigError, match="name a file with -o, or use --html FILE"):
        report_writer(parse(["run", "--output", "html"], {}))


def test_a_private_file_is_its_owners_alone_unless_it_had_another_mode(tmp_path: Path) -> None:
    place = tmp_path / "report"
    write_file(place, "new", private=True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    place.chmod(0o644)
    write_file(place, "newer", private=True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o644
