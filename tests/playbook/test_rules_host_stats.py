"""Rules about memcached's own stats of a host."""

from __future__ import annotations

import pytest

from fleettrace.playbook.findings import Certainty
from fleettrace.playbook.rules.eval_context import Evidence
from fleettrace.report.build import build_report
from fleettrace.summary.host_stats import HostStats, unknown_stats
from tests.playbook.rules_evidence import found, named
from tests.report.examples import add_host, count, new_run
from tests.report.test_host_stats import EVICTING, with_stats


def fleet(*stats: HostStats) -> Evidence:
    run = new_run("all")
    for number, one in enumerate(stats, 1):
        add_host(run, f"cache-00{number}", {b"a": count([10] * 10)}, instance=with_stats(one))
    return Evidence(build_report(run))


CALM = HostStats(10.0, get_hits=99, get_misses=1, evictions=0, bytes_written=1000, curr_connections=5)


@pytest.mark.parametrize(
    "rule",
    [
        "host.evictions > 1k/s",
        "host.hit_ratio < 95%",
        "host.bytes_out > 30MB/s",
        "host.bytes_out > 30MB",
        "host.connections > 800",
        "host.evictions > 1.5 x mean",
    ],
)
def test_rule_finds_the_host(rule: str) -> None:
    findings = found(rule, fleet(CALM, EVICTING))
    assert named(findings) == ["cache-002"]
    assert findings.all[0].certainty is Certainty.CERTAIN


def test_finding_names_the_class_that_evicts() -> None:
    (finding,) = found("host.evictions > 10/s", fleet(EVICTING)).all
    assert finding.message.startswith(
        "cache-001 evicts 1,200 items/s, nearly all from class 12 (items of about 1.4 kB) ("
    )
    assert finding.figures[0].low == 1200


def test_bytes_out_are_shown_per_second() -> None:
    (finding,) = found("host.bytes_out > 30MB/s", fleet(EVICTING)).all
    assert finding.message.startswith("host cache-001: bytes out 35.0 MB/s (")


def test_unknown_stats_are_not_judged() -> None:
    findings = found("host.evictions > 10/s", fleet(CALM, unknown_stats("no answer")))
    assert named(findings) == []
    assert "host.evictions is not known" in findings.unknown[0].message
