"""Redaction removes every name and keeps the numbers, with equal pseudonyms on all hosts."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.report.build import build_report
from fleettrace.report.formats import Output
from fleettrace.report.interface import FormatOptions
from fleettrace.report.redact import Redact, Redactor, redact
from fleettrace.report.templates import Templates
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, new_run, realistic

SECRET = b"0123456789abcdef0123456789abcdef"
FORMATS = [Output.TABLE, Output.JSON, Output.CSV, Output.PROMETHEUS, Output.MARKDOWN]


def written(run: RunResult, output: Output) -> str:
    out = io.StringIO()
    output.formatter(FormatOptions(prometheus_keys=True)).write(build_report(run, top=50), out)
    return out.getvalue()


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("how", [Redact.HASH, Redact.DROP])
def test_no_format_contains_parts_of_keys(output: Output, how: Redact) -> None:
    text = written(redact(realistic(), how, SECRET), output)
    for word in ("user:1", "profile", "feature", "config", "promo", "reindex", "sess:", "pod"):
        assert word not in text


@pytest.mark.parametrize("how", [Redact.HASH, Redact.TEMPLATE])
def test_redaction_keeps_numbers(how: Redact) -> None:
    run = realistic()
    plain, redacted = build_report(run, top=10_000), build_report(redact(run, how, SECRET), top=10_000)
    assert redacted.totals == plain.totals
    numbers = [(row.requests, row.requests_max, row.share, row.hosts, row.spread, row.timeline) for row in plain.keys]
    assert sorted(numbers, key=repr) == sorted(
        ((row.requests, row.requests_max, row.share, row.hosts, row.spread, row.timeline) for row in redacted.keys),
        key=repr,
    )
    assert [row.load for row in redacted.hosts] == [row.load for row in plain.hosts]


def test_cause_has_pseudonym() -> None:
    hot = next(row for row in build_report(redact(realistic(), Redact.HASH, SECRET)).hosts if row.host == "cache-017")
    assert hot.cause is not None
    assert hot.cause.key == Redactor(SECRET).key(Key.whole(b"user:1:profile"))


def test_redact_does_not_change_run() -> None:
    run = realistic()
    before = build_report(run)
    redact(run, Redact.TEMPLATE, SECRET)
    assert build_report(run) == before


@given(st.binary(min_size=1, max_size=250), st.binary(min_size=16, max_size=40), st.binary(min_size=16, max_size=40))
def test_pseudonym_depends_on_key_and_secret(data: bytes, secret: bytes, other: bytes) -> None:
    first = Redactor(secret).key(Key.whole(data))
    assert re.fullmatch(rb"[0-9a-f]{16}", first.data)
    assert first == Redactor(secret).key(Key.whole(data))
    assert (first == Redactor(other).key(Key.whole(data))) == (secret.ljust(64, b"\0") == other.ljust(64, b"\0"))


def test_truncated_key_stays_truncated() -> None:
    redactor = Redactor(SECRET)
    cut, longer = Key(b"user:1", 20), Key(b"user:1", 21)
    names = {redactor.key(cut), redactor.key(longer), redactor.key(Key.whole(b"user:1"))}
    assert len(names) == 3
    assert redactor.key(cut).truncated


def test_template_mode_keeps_constant_parts() -> None:
    counts = {f"user:{number}:{{x}}".encode(): 1 for number in range(100_000, 100_200)}
    redactor = Redactor(SECRET, Templates.learn(counts))
    name = redactor.key(Key.whole(b"user:100007:{x}")).data
    assert re.fullmatch(rb"user:[0-9a-f]{16}:\{x\}", name)
    assert name == b"user:" + Redactor(SECRET).key(Key.whole(b"100007")).data + b":{x}"


def test_key_without_family_is_fully_redacted() -> None:
    counts = {f"user:{number}:profile".encode(): 1 for number in range(100_000, 100_200)}
    redactor = Redactor(SECRET, Templates.learn(counts))
    assert redactor.key(Key.whole(b"alice's secret")) == Redactor(SECRET).key(Key.whole(b"alice's secret"))


def test_families_are_found_again_in_redacted_keys() -> None:
    report = build_report(redact(realistic(), Redact.TEMPLATE, SECRET))
    assert "sess:{}" in [row.template for row in report.templates]


def test_drop_keeps_hosts_totals_and_bounds() -> None:
    run = realistic()
    plain, report = build_report(run), build_report(redact(run, Redact.DROP, SECRET))
    assert (report.keys, report.templates) == ((), ())
    assert report.totals.requests == plain.totals.requests
    assert report.totals.absent == max(row.requests_max for row in plain.keys)
    assert all(row.top == () for row in report.hosts)


def test_hostile_keys_are_redacted() -> None:
    run = new_run()
    add_host(run, "c1", {key: count([index + 1]) for index, key in enumerate(HOSTILE)})
    names = [row.key.data for row in build_report(redact(run, Redact.HASH, SECRET), top=100).keys]
    assert len(names) == len(HOSTILE)
    assert all(re.fullmatch(rb"[0-9a-f]{16}", name) for name in names)


def test_short_secret_is_rejected() -> None:
    with pytest.raises(ConfigError, match="has 5 bytes, fewer than 16: create one with `openssl"):
        Redactor(b"short")
