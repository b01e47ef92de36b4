"""A change is certain only where its whole interval lies beyond the threshold, and its severity follows."""

from __future__ import annotations

import pytest

from fleettrace.playbook.findings import Certainty, Severity
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from tests.playbook.rules_evidence import fleet, of_runs, run_after

FLEET = fleet()
BEFORE = run_after(FLEET, 1)
DOUBLED = of_runs(BEFORE, run_after(FLEET, 9, times={20: 2.1}))


@pytest.mark.parametrize(
    ("rule", "certainty", "severity"),
    [
        ("key risen 1.5 x since baseline", Certainty.CERTAIN, Severity.HIGH),
        ("key risen 2 x since baseline", Certainty.POSSIBLE, Severity.MEDIUM),
        ("key changed since baseline", Certainty.CERTAIN, Severity.HIGH),
        ("changed 2x since baseline", Certainty.POSSIBLE, Severity.MEDIUM),
    ],
)
def test_interval_across_the_threshold_is_possible(rule: str, certainty: Certainty, severity: Severity) -> None:
    (finding,) = judge([compile_rule(rule, severity=Severity.HIGH)], DOUBLED).all
    assert (finding.certainty, finding.severity) == (certainty, severity)
    ratio = finding.figures[-1]
    assert ratio.low is not None and ratio.high is not None
    assert ratio.low < 2 < ratio.high
    assert bool(finding.why) == (certainty is Certainty.POSSIBLE)


def test_low_severity_stays_low() -> None:
    (finding,) = judge([compile_rule("key risen 2x since baseline", severity=Severity.LOW)], DOUBLED).all
    assert finding.severity is Severity.LOW


@pytest.mark.parametrize("rule", ["key new since baseline", "key gone since baseline"])
def test_key_that_appears_or_disappears_is_certain(rule: str) -> None:
    before, after = run_after(FLEET, 1, times={30: 0.0}), run_after(FLEET, 9, times={31: 0.0})
    (finding,) = judge([compile_rule(rule)], of_runs(before, after)).all
    assert finding.certainty is Certainty.CERTAIN
