"""Prometheus's own parsers accept the metrics in both formats."""

from __future__ import annotations

import io

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.escape import unescape_key
from fleettrace.report.prometheus import PrometheusFormatter
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, failed, new_run, realistic

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def written(run: RunResult, *, keys: bool = False, top: int = 20) -> str:
    out = io.StringIO()
    PrometheusFormatter(keys=keys).write(build_report(run, top=top), out)
    return out.getvalue()


def parsed(text: str) -> Samples:
    """Return the samples, which must be equal for both parsers."""
    by_parser = [
        {
            (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for family in parse(text)
            for sample in family.samples
        }
        for parse in (parse_text, parse_openmetrics)
    ]
    assert by_parser[0] == by_parser[1]
    return by_parser[0]


def hostile() -> RunResult:
    run = new_run('"}\n\\')
    add_host(run, 'c"1\n', {key: count([index + 1] * 10) for index, key in enumerate(HOSTILE)})
    return run


def test_metrics_show_report_numbers() -> None:
    report = build_report(realistic())
    samples = parsed(written(realistic()))
    assert samples["fleettrace_window_requests", ()] == report.totals.requests
    assert samples["fleettrace_requests_per_second", ()] == report.totals.rate
    assert samples["fleettrace_hosts", (("state", "unreachable"),)] == 2
    assert samples["fleettrace_host_load_ratio", (("host", "cache-017"),)] == pytest.approx(2.15, abs=0.01)
    assert samples["fleettrace_template_keys", (("template", "sess:{}"),)] == 61 * 60


def test_keys_are_labels_only_on_request() -> None:
    assert "fleettrace_key" not in written(realistic())
    assert (
        parsed(written(realistic(), keys=True))["fleettrace_key_window_requests", (("key", "user:1:profile"),)] == 48e3
    )


@pytest.mark.parametrize("top", [5, 100])
def test_number_of_series_is_bounded(top: int) -> None:
    run = realistic()
    families = len(build_report(run).templates)
    assert len(parsed(written(run, keys=True, top=top))) <= 20 + 5 * len(run.hosts) + 4 * families + 7 * top


def test_hostile_keys_are_restored_from_labels() -> None:
    samples = parsed(written(hostile(), keys=True, top=100))
    names = [dict(labels)["key"] for name, labels in samples if name == "fleettrace_key_window_requests"]
    assert {unescape_key(name) for name in names} == set(HOSTILE)


def test_unknown_values_have_no_sample() -> None:
    run = new_run()
    failed(run, "c1", HostState.UNREACHABLE, "connect", "no route")
    text = written(run)
    assert "fleettrace_window_requests" not in text
    assert parsed(text)["fleettrace_host_ok", (("host", "c1"),)] == 0


def test_metrics_end_with_eof() -> None:
    assert written(new_run()).endswith("\n# EOF\n")
