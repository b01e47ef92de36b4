"""The CSV report is read back exactly, and has no cell that a spreadsheet executes."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import duckdb
import pytest

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.csv_format import COLUMNS, CsvFormatter
from fleettrace.report.escape import unescape_key
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, failed, new_run, realistic


def written(run: RunResult, top: int = 100) -> str:
    out = io.StringIO(newline="")
    CsvFormatter().write(build_report(run, top=top), out)
    return out.getvalue()


def hostile() -> RunResult:
    run = new_run("=all")
    add_host(run, "@host", {key: count([index + 1] * 10) for index, key in enumerate(HOSTILE)})
    failed(run, "c2", HostState.TRACE_FAILED, "bpftrace", "=HYPERLINK(1)\r\n-2")
    return run


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_csv_follows_rfc_4180() -> None:
    text = written(hostile())
    assert text.endswith("\r\n")
    assert not re.search(r"(?<!\r)\n|\r(?!\n)", text)
    assert all(len(row) == len(COLUMNS) for row in csv.reader(io.StringIO(text, newline=""), strict=True))


def test_every_key_is_restored_exactly() -> None:
    names = [row["name"] for row in rows(written(hostile())) if row["kind"] == "key"]
    assert {unescape_key(name) for name in names} == set(HOSTILE)


def test_no_cell_begins_with_formula() -> None:
    for row in csv.reader(io.StringIO(written(hostile()), newline="")):
        for cell in row:
            assert not re.match(r"[=+\-@\t\r＝＋－＠]", cell), cell
            assert not re.search(r";[=+\-@]", cell), cell


def test_formula_after_semicolon_is_escaped() -> None:
    run = new_run()
    add_host(run, "c1", {b"a;=1+1": count([1])})
    (row,) = [row for row in rows(written(run)) if row["kind"] == "key"]
    assert row["name"] == "a;\\x3d1+1"
    assert unescape_key(row["name"]) == b"a;=1+1"


def test_unknown_values_are_empty() -> None:
    run = new_run()
    failed(run, "c1", HostState.UNREACHABLE, "connect", "no route")
    host = next(row for row in rows(written(run)) if row["kind"] == "host")
    assert (host["requests"], host["rate"], host["error"]) == ("", "", "no route")


def test_duckdb_reads_equal_values(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    run = realistic()
    add_host(run, "@host", {key: count([index + 1] * 10) for index, key in enumerate(HOSTILE)})
    path.write_text(written(run), encoding="utf-8", newline="")
    report = build_report(run, top=100)
    table = duckdb.read_csv(str(path), header=True)
    assert table.columns == list(COLUMNS)
    keys = table.filter("kind = 'key'").project("name, requests, requests_max, share").fetchall()
    expected = [(row.key.data, row.requests, row.requests_max) for row in report.keys]
    assert [(unescape_key(name), low, high) for name, low, high, _ in keys] == expected
    assert [share for *_, share in keys] == pytest.approx([row.share for row in report.keys])


def test_csv_has_cause_of_hot_host() -> None:
    hot = next(row for row in rows(written(realistic())) if row["name"] == "cache-017")
    assert hot["cause"] == "user:1:profile"
    assert float(hot["load_without"]) == pytest.approx(0.97, abs=0.01)
