"""What changed since the run before: reported when it did, and never when it is noise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.playbook.findings import Certainty
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from tests.playbook.rules_evidence import fleet, found, named, of_runs, only, run_after

FLEET = fleet()
BEFORE = run_after(FLEET, 1)
RULES = [
    "changed since baseline",
    "new key in top 10",
    "key risen 2 x since baseline",
    "key changed since baseline",
    "key moved since baseline",
    "host risen since baseline",
    "template changed since baseline",
]


def test_an_unchanged_fleet_is_not_worth_a_word() -> None:
    rules = [compile_rule(rule) for rule in RULES]
    earlier = BEFORE
    for seed in range(2, 8):
        later = run_after(FLEET, seed)
        assert judge(rules, of_runs(earlier, later)).all == ()
        earlier = later


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("key risen 2 x since baseline", ["user:40:profile"]),
        ("key changed since baseline", ["user:40:profile", "user:60:profile"]),
        ("key risen since baseline and key.share > 1%", ["user:40:profile"]),
        ("key fallen since baseline", ["user:60:profile"]),
        ("new key in top 10", ["user:40:profile"]),
        ("new key in top 10 and key.rate > 100k/s", []),
        ("new key in top 200", []),
        ("host changed since baseline", []),
    ],
)
def test_what_was_changed_is_found_and_nothing_else(rule: str, names: list[str]) -> None:
    given = of_runs(BEFORE, run_after(FLEET, 9, times={40: 16.0, 60: 0.3}))
    findings = found(rule, given)
    assert sorted(named(findings)) == sorted(names)
    assert all(one.certainty is Certainty.CERTAIN for one in findings.all)


def test_any_change_is_one_finding_that_names_them() -> None:
    finding = only(found("changed since baseline", of_runs(BEFORE, run_after(FLEET, 9, times={40: 16.0, 60: 0.3}))))
    assert finding.name is None
    assert finding.message.startswith("2 changes: key user:40:profile risen 1")
    assert "; key user:60:profile fallen 0." in finding.message
    assert finding.event == "run-9"


def test_a_key_that_went_is_a_finding_though_the_report_has_it_no_more() -> None:
    finding = only(found("key gone since baseline", of_runs(BEFORE, run_after(FLEET, 9, times={30: 0.0}))))
    assert finding.shown == "user:30:profile"
    assert "gone, " in finding.message


def test_a_host_that_is_asked_for_more_is_a_finding() -> None:
    busier = run_after(FLEET, 9, times=dict.fromkeys(range(1, 200, 4), 3.0))
    findings = found("host risen 2 x since baseline", of_runs(BEFORE, busier))
    assert named(findings, Certainty.CERTAIN) == ["cache-1"]
    assert "risen 3.0" in only(findings).message


def test_a_key_that_moved_names_both_hosts() -> None:
    finding = only(found("key moved since baseline", of_runs(BEFORE, run_after(FLEET, 9, places={12: 3}))))
    assert (finding.shown, "moved from cache-0 to cache-3" in finding.message) == ("user:12:profile", True)


def test_the_first_run_has_nothing_to_be_compared_with() -> None:
    finding = only(found("changed since baseline", of_runs(None, BEFORE)))
    assert (finding.certainty, finding.why) == (Certainty.UNKNOWN, ("there is no earlier run to compare with",))


def test_a_host_that_is_missing_leaves_open_whether_its_keys_changed() -> None:
    finding = only(found("key changed since baseline", of_runs(BEFORE, run_after(FLEET, 9, down=[2]))))
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.why == ("cache-2 cannot be compared with the baseline",)


def test_other_pseudonyms_cannot_be_compared() -> None:
    after = replace(run_after(FLEET, 9), redaction="hash:12345678")
    finding = only(found("key changed since baseline", of_runs(BEFORE, after)))
    assert finding.why == ("names were replaced in another way in the baseline",)
    assert found("host changed since baseline", of_runs(BEFORE, after)).all == ()


def test_the_same_event_in_two_runs_is_two_findings() -> None:
    ids = {
        only(found("key risen since baseline", of_runs(BEFORE, run_after(FLEET, seed, times={40: 5.0})))).id
        for seed in (9, 10)
    }
    assert len(ids) == 2
