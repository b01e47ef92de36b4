"""The JSON report follows its schema."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.json_format import JsonFormatter, to_json
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, failed, new_run, realistic, small

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "report-1.json"


def strict(schema: Any) -> Any:
    """Return the schema without additional properties: it must describe all fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(part) for name, part in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema and isinstance(schema.get("type"), str):
        closed["additionalProperties"] = False
    return closed


def written(run: RunResult, top: int = 20) -> dict[str, Any]:
    out = io.StringIO()
    JsonFormatter().write(build_report(run, top=top), out)
    assert out.getvalue().endswith("}\n")
    loaded: dict[str, Any] = json.loads(out.getvalue())
    return loaded


@pytest.mark.parametrize("run", [realistic(), small(), new_run()], ids=["realistic", "small", "empty"])
def test_json_matches_schema(run: RunResult) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(written(run), strict(schema), cls=jsonschema.Draft202012Validator)


def test_json_has_contract_fields() -> None:
    report = written(realistic())
    assert report["schema"] == "fleettrace/report/1"
    assert {"id", "started", "finished", "version", "pattern", "duration_s"} <= report["run"].keys()
    assert {"hosts", "hosts_ok", "instances", "requests", "rate", "certified"} <= report["totals"].keys()
    key_fields = (
        "key key_base64 truncated requests requests_max share rate certified ops misses hosts top_host timeline"
    )
    assert set(key_fields.split()) <= report["keys"][0].keys()
    assert {"host", "requests"} <= report["keys"][0]["top_host"].keys()
    assert {"host", "state", "error", "requests", "rate", "share", "instances"} <= report["hosts"][0].keys()
    instance_fields = "pid container exe version build_id ports probe window_s requests absent state"
    instance = report["hosts"][0]["instances"][0]
    assert set(instance_fields.split()) <= instance.keys()
    assert {"kind", "exact", "symbol", "offset", "overlay", "cost", "why"} <= instance["probe"].keys()


@pytest.mark.parametrize("key", HOSTILE)
def test_every_key_is_restored_exactly(key: bytes) -> None:
    run = new_run()
    add_host(run, "cache-001", {key: count([1] * 10)})
    fields = written(run)["keys"][0]
    exact = fields["key"].encode() if fields["key_base64"] is None else b64decode(fields["key_base64"])
    assert exact == key
    assert fields["key"].isprintable()


def test_json_is_printable_ascii() -> None:
    run = new_run()
    add_host(run, "cache-001", {key: count([1] * 10) for key in HOSTILE})
    failed(run, "cache-002", HostState.TRACE_FAILED, "bpftrace", "\x1b[31m red \u202e \udcff")
    out = io.StringIO()
    JsonFormatter().write(build_report(run, top=100), out)
    assert all(char == "\n" or " " <= char <= "~" for char in out.getvalue())


def test_unknown_values_are_null() -> None:
    run = new_run()
    failed(run, "cache-001", HostState.UNREACHABLE, "connect", "no route to host")
    report = written(run)
    assert report["totals"]["requests"] is None
    assert report["totals"]["rate"] is None
    assert report["hosts"][0]["requests"] is None
    assert report["hosts"][0]["load"] is None


def test_unknown_ops_are_null() -> None:
    run = new_run()
    add_host(run, "cache-001", {b"a": count([1] * 10)})
    assert written(run)["keys"][0]["ops"] is None


def test_missing_host_leaves_no_key_certified() -> None:
    report = to_json(build_report(realistic()))
    assert not any(key["certified"] for key in report["keys"])
    assert report["totals"]["hosts_missing"] == ["cache-003", "cache-040", "cache-041"]
    (warning,) = [item for item in report["warnings"] if item["code"] == "bounds-open"]
    assert warning["message"].startswith("3 hosts are missing or incomplete (cache-[003,040-041])")
