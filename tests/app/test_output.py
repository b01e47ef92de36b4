"""Where reports are written."""

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

from fleettrace.app.option_report import FORMATS
from fleettrace.app.options import ReportOptions
from fleettrace.app.output import check_writable, report_writer, write_file
from fleettrace.errors import ConfigError
from fleettrace.report.formats import Output
from tests.report.examples import realistic


def test_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with path.open() as reader:
        write_file(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write .*directory"):
        write_file(tmp_path / "directory", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_unwritable_path_is_found_before_the_sweep(tmp_path: Path) -> None:
    check_writable(None)
    check_writable(str(tmp_path / "report.json"))
    with pytest.raises(ConfigError, match="no such directory"):
        check_writable(str(tmp_path / "nowhere/report.json"))
    with pytest.raises(ConfigError, match="it is a directory"):
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


def test_formats_match_the_report_package() -> None:
    assert list(FORMATS) == [output.value for output in Output]


@pytest.mark.parametrize("output", FORMATS)
def test_file_and_pipe_get_the_same_bytes(
    output: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "report"
    report_writer(ReportOptions(output=output, out=str(path))).write(realistic())
    report_writer(ReportOptions(output=output)).write(realistic())
    assert path.read_bytes() == capfdbinary.readouterr().out


def test_csv_lines_end_with_crlf(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    report_writer(ReportOptions(output="csv", out=str(path))).write(realistic())
    data = path.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n") > 10
    assert len(list(csv.DictReader(io.StringIO(data.decode(), newline="")))) > 10


def test_html_page_is_written_beside_the_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    page = tmp_path / "page.html"
    report_writer(ReportOptions(output="json", html=str(page))).write(realistic())
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(capfdbinary.readouterr().out)["schema"] == "fleettrace/report/1"


def test_prometheus_keys_become_labels_on_request(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    report_writer(ReportOptions(output="prometheus")).write(realistic())
    assert b"user:1:profile" not in capfdbinary.readouterr().out
    report_writer(ReportOptions(output="prometheus", prometheus_keys=True)).write(realistic())
    assert b'key="user:1:profile"' in capfdbinary.readouterr().out


def test_ascii_terminal_gets_no_error(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with os.fdopen(os.dup(1), "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        report_writer(ReportOptions()).write(realistic())
    assert capfdbinary.readouterr().out.isascii()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ReportOptions(html="/nowhere/page.html"), "no such directory /nowhere"),
        (ReportOptions(html="report", out="./report"), "-o and --html both name report"),
        (ReportOptions(prometheus_keys=True), "--prometheus-keys with --output table: it is for --output prometheus"),
    ],
)
def test_conflicting_output_options_are_refused(options: ReportOptions, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        report_writer(options)


def test_html_on_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(ConfigError, match="name a file with -o, or use --html FILE"):
        report_writer(ReportOptions(output="html"))


def test_private_file_is_0600_unless_it_existed(tmp_path: Path) -> None:
    path = tmp_path / "report"
    write_file(path, "new", private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    write_file(path, "newer", private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
