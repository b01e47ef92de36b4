"""The fleet itself is a subject: its total rate, its coverage, and its hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.playbook.findings import Certainty
from fleettrace.playbook.rules.language import RuleError, compile_rule
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.run import Coverage
from tests.playbook.rules_evidence import fleet, found, of_runs, only, run_after

FLEET = fleet(hosts=3)
BEFORE = run_after(FLEET, 1)
SILENT = run_after(replace(FLEET, rate=1e-9), 2)
RATE = "fleet.rate changed since baseline"


def at(rate: float, seed: int = 2) -> StoredRun:
    """Return a window of the fleet at this part of its usual rate."""
    return run_after(replace(FLEET, rate=FLEET.rate * rate), seed)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (BEFORE, SILENT, "gone, 50."),
        (BEFORE, at(0.1), "fallen 0.10x"),
        (SILENT, BEFORE, "new at 50."),
        (BEFORE, at(4), "risen "),
    ],
    ids=["stops", "falls to a tenth", "comes from nothing", "rises"],
)
@pytest.mark.parametrize("rule", [RATE, "changed since baseline"])
def test_change_of_the_total_rate_is_found(before: StoredRun, after: StoredRun, shown: str, rule: str) -> None:
    finding = only(found(rule, of_runs(before, after)))
    assert finding.certainty is Certainty.CERTAIN
    assert f"1 change: fleet.rate {shown}" in finding.message


@pytest.mark.parametrize("part", [0.6, 1.0, 1.7])
def test_busy_hour_is_no_change(part: float) -> None:
    assert found(RATE, of_runs(BEFORE, at(part))).all == ()
    assert found("changed since baseline", of_runs(BEFORE, at(part))).all == ()


def test_rule_has_its_own_threshold_of_the_rate() -> None:
    given = of_runs(BEFORE, at(1.7))
    assert only(found("fleet.rate risen 1.3x since baseline", given)).certainty is Certainty.CERTAIN
    assert found("fleet.rate fallen 1.3x since baseline", given).all == ()


@pytest.mark.parametrize(
    "rule",
    ["key.share > 5%", "key risen 2x since baseline", "new key in top 10", "template.share > 30%", "key.certified"],
)
def test_rule_on_keys_is_unknown_without_requests(rule: str) -> None:
    finding = only(found(rule, of_runs(BEFORE, SILENT)))
    assert (finding.certainty, finding.why) == (Certainty.UNKNOWN, ("no request was traced",))


def covered(run: StoredRun, share: float | None) -> StoredRun:
    """Return the run with this coverage of each instance."""
    for host in run.hosts:
        for instance in host.instances:
            traced = instance.requests or 0
            instance.coverage = None if share is None else Coverage(round(traced / share), traced)
    return run


def test_fallen_coverage_is_found() -> None:
    before, after = covered(at(1, 3), 0.998), covered(at(1, 4), 0.9)
    finding = only(found("coverage fallen since baseline", of_runs(before, after)))
    assert "fallen from 99.8% to 90.0%" in finding.message
    assert finding.certainty is Certainty.CERTAIN
    assert "coverage fallen" in only(found("changed since baseline", of_runs(before, after))).message
    assert found("coverage changed since baseline", of_runs(before, covered(at(1, 4), 0.97))).all == ()


def test_lost_coverage_is_gone_and_unmeasured_is_unknown() -> None:
    before, after = covered(at(1, 3), 0.998), covered(at(1, 4), None)
    assert only(found("coverage gone since baseline", of_runs(before, after))).certainty is Certainty.CERTAIN
    unknown = only(found("coverage fallen since baseline", of_runs(covered(at(1, 3), None), after)))
    assert unknown.why == ("the coverage is not known",)


def test_host_that_left_the_inventory_is_gone() -> None:
    larger = run_after(replace(FLEET, hosts=4), 3)
    finding = only(found("host gone since baseline", of_runs(larger, BEFORE)))
    assert (finding.shown, finding.certainty) == ("cache-3", Certainty.CERTAIN)
    assert "no longer selected" in finding.message
    assert only(found("host new since baseline", of_runs(BEFORE, larger))).shown == "cache-3"


def test_fleet_rate_is_a_field_too() -> None:
    assert only(found("fleet.rate < 1/s", of_runs(BEFORE, SILENT))).certainty is Certainty.CERTAIN


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("coverage fallen 2x since baseline", "coverage takes no multiple"),
        ("fleet.rate moved since baseline", "only keys move"),
    ],
)
def test_impossible_changes_of_the_fleet_are_rejected(rule: str, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        compile_rule(rule)
