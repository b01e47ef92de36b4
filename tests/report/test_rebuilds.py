"""The key that is missed most has a line with the rate of its misses and of its stores."""

from __future__ import annotations

import io

import pytest

from fleettrace.report.build import build_report
from fleettrace.report.formats import Output
from fleettrace.report.interface import FormatOptions
from fleettrace.report.rebuilds import misses_text
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, new_run


def missed(key: bytes = b"user:9") -> RunResult:
    """Return a run of 10 s in which a key is missed 400 times and stored 380 times."""
    run = new_run()
    rebuilt, other = count([100] * 10, {"get": 620, "set": 380}), count([200] * 10, {"get": 2000})
    rebuilt.misses, other.misses = 400, 7
    add_host(run, "cache-001", {key: rebuilt, b"other": other})
    return run


@pytest.mark.parametrize("output", [Output.TABLE, Output.MARKDOWN])
def test_most_missed_key_is_named(output: Output) -> None:
    out = io.StringIO()
    output.formatter(FormatOptions(width=160)).write(build_report(missed()), out)
    assert "missed 40/s, stored 38/s" in out.getvalue()


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_missed_key_is_escaped(key: bytes) -> None:
    assert misses_text(build_report(missed(key)), lambda data: data.hex()).startswith(f"misses: {key.hex()} missed")


def test_no_line_without_known_misses() -> None:
    run = new_run()
    add_host(run, "cache-001", {b"a": count([1] * 10, {"get": 10})})
    assert misses_text(build_report(run), str) == ""
