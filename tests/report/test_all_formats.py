"""Every format shows the same numbers for a run."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleettrace.report.build import build_report
from fleettrace.report.escape import escape_key, unescape_key
from fleettrace.report.formats import Output
from fleettrace.report.interface import FormatOptions
from fleettrace.report.model import Report
from tests.report.examples import realistic, small

RUNS = {"realistic": realistic, "small": small}


@pytest.fixture(params=RUNS)
def report(request: pytest.FixtureRequest) -> Report:
    return build_report(RUNS[request.param]())


def written(report: Report, output: Output, width: int | None = None) -> str:
    out = io.StringIO(newline="")
    output.formatter(FormatOptions(width=width, prometheus_keys=True)).write(report, out)
    return out.getvalue()


def json_numbers(report: Report) -> tuple[Any, dict[bytes, Any], dict[str, Any]]:
    loaded = json.loads(written(report, Output.JSON))
    names = {fields["key"]: row.key.data for fields, row in zip(loaded["keys"], report.keys, strict=True)}
    keys = {names[item["key"]]: (item["requests"], item["rate"]) for item in loaded["keys"]}
    return loaded["totals"]["requests"], keys, {item["host"]: item["requests"] for item in loaded["hosts"]}


def csv_numbers(report: Report) -> tuple[Any, dict[bytes, Any], dict[str, Any]]:
    rows = list(csv.DictReader(io.StringIO(written(report, Output.CSV), newline="")))
    (total,) = [int(row["requests"]) for row in rows if row["kind"] == "fleet"]
    keys = {unescape_key(row["name"]): row for row in rows if row["kind"] == "key"}
    hosts = {row["name"]: int(row["requests"]) if row["requests"] else None for row in rows if row["kind"] == "host"}
    return total, {key: (int(row["requests"]), float(row["rate"])) for key, row in keys.items()}, hosts


def prometheus_numbers(report: Report) -> tuple[Any, dict[bytes, Any], dict[str, Any]]:
    families = {
        family.name.removeprefix("fleettrace_"): {"".join(item.labels.values()): item.value for item in family.samples}
        for family in text_string_to_metric_families(written(report, Output.PROMETHEUS))
    }
    rates = families["key_requests_per_second"]
    keys = {unescape_key(key): (value, rates[key]) for key, value in families["key_window_requests"].items()}
    traced = families["host_window_requests"]
    hosts = {host: traced.get(host) for host in families["host_ok"]}
    return families["window_requests"][""], keys, hosts


def html_numbers(report: Report) -> tuple[Any, dict[bytes, Any], dict[str, Any]]:
    """Return the data block that the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', written(report, Output.HTML), re.S)
    assert found is not None
    page = json.loads(found[1])
    columns = page["keys"]
    names = [
        base64.b64decode(coded) if coded else key.encode()
        for key, coded in zip(columns["key"], columns.get("key_base64") or [None] * columns["n"], strict=True)
    ]
    keys = dict(zip(names, zip(columns["requests"], columns["rate"], strict=True), strict=True))
    return page["totals"]["requests"], keys, dict(zip(page["hosts"]["host"], page["hosts"]["requests"], strict=True))


def test_json_csv_prometheus_and_html_agree(report: Report) -> None:
    total = report.totals.requests
    keys = {row.key.data: (row.requests, row.rate) for row in report.keys}
    hosts = {row.host: row.requests for row in report.hosts}
    for numbers in (json_numbers, csv_numbers, prometheus_numbers):
        assert numbers(report) == (total, keys, hosts)
    # The page has only six digits of a rate.
    rounded = {key: (requests, pytest.approx(rate, rel=1e-5)) for key, (requests, rate) in keys.items()}
    assert html_numbers(report) == (total, rounded, hosts)


@pytest.mark.parametrize("output", [Output.TABLE, Output.MARKDOWN])
def test_table_and_markdown_show_equal_numbers(report: Report, output: Output) -> None:
    lines = written(report, output).splitlines()
    assert any(f"{report.totals.requests:,} requests" in line for line in lines)
    for row in report.keys:
        (line,) = [line for line in lines if _names(line, escape_key(row.key.data))]
        assert row.rate is not None
        assert row.share is not None
        for number in (f"{row.requests:,}", f"{row.rate:,.0f}", f"{row.share * 100:.1f}%"):
            assert number in re.split(r"[\s|]+", line)
        assert row.exact or f"{row.requests_max:,}" in line
    for template in report.templates:
        (line,) = [line for line in lines if template.template in line]
        assert f"{template.requests:,}" in line


@pytest.mark.parametrize("width", [80, 140])
def test_terminal_lists_requests_of_keys_in_order(report: Report, width: int) -> None:
    text = written(report, Output.TABLE, width)
    keys = text[text.index("\nKEYS") : (text + "\nFAMILIES").index("\nFAMILIES")].splitlines()[3:]
    shown = [line.replace("✓", " ").split()[0] for line in keys if line]
    assert shown == [f"{row.requests:,}" for row in report.keys]


def _names(line: str, shown: str) -> bool:
    """Return whether it is the key's line: a row of the table ends with the key, a Markdown row begins with it."""
    table = re.match(r"\s+[✓\d]", line) is not None and f" {shown} " in f"{line} "
    return (table and "keys" not in line) or line.startswith(f"| `{shown}` ")
