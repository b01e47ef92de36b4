"""Changes since the previous run are found, and noise is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.playbook.findings import Certainty
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from fleettrace.store.diff.baseline import Baseline
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


def test_unchanged_fleet_has_no_findings() -> None:
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
def test_only_changed_subjects_are_found(rule: str, names: list[str]) -> None:
    given = of_runs(BEFORE, run_after(FLEET, 9, times={40: 16.0, 60: 0.3}))
    findings = found(rule, given)
    assert sorted(named(findings)) == sorted(names)
    assert all(one.certainty is Certainty.CERTAIN for one in findings.all)


def test_changed_lists_all_changes_in_one_finding() -> None:
    finding = only(found("changed since baseline", of_runs(BEFORE, run_after(FLEET, 9, times={40: 16.0, 60: 0.3}))))
    assert finding.name is None
    assert finding.message.startswith("2 changes: key user:40:profile risen 1")
    assert "; key user:60:profile fallen 0." in finding.message
    assert finding.event == "run-9"


def test_gone_key_outside_the_report_is_found() -> None:
    finding = only(found("key gone since baseline", of_runs(BEFORE, run_after(FLEET, 9, times={30: 0.0}))))
    assert finding.shown == "user:30:profile"
    assert "gone, " in finding.message


def test_host_with_risen_rate_is_found() -> None:
    busier = run_after(FLEET, 9, times=dict.fromkeys(range(1, 200, 4), 3.0))
    findings = found("host risen 2 x since baseline", of_runs(BEFORE, busier))
    assert named(findings, Certainty.CERTAIN) == ["cache-1"]
    assert "risen 3.0" in only(findings).message


def test_moved_key_names_both_hosts() -> None:
    finding = only(found("key moved since baseline", of_runs(BEFORE, run_after(FLEET, 9, places={12: 3}))))
    assert (finding.shown, "moved from cache-0 to cache-3" in finding.message) == ("user:12:profile", True)


def test_first_run_has_no_baseline() -> None:
    finding = only(found("changed since baseline", of_runs(None, BEFORE)))
    assert (finding.certainty, finding.why) == (Certainty.UNKNOWN, ("it is the first of its kind",))


def test_missing_baseline_is_reported_once_for_all_rules() -> None:
    given = replace(of_runs(None, BEFORE), no_baseline="run-0 differs in --ops")
    finding = only(judge([compile_rule(rule) for rule in RULES], given))
    assert finding.message == "no comparable run for 7 rules since baseline: run-0 differs in --ops"


def test_missing_host_makes_changes_unknown() -> None:
    finding = only(found("key changed since baseline", of_runs(BEFORE, run_after(FLEET, 9, down=[2]))))
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.why == ("cache-2 cannot be compared with the baseline",)


def test_different_pseudonyms_are_not_compared() -> None:
    after = replace(run_after(FLEET, 9), redaction="hash:12345678")
    finding = only(found("key changed since baseline", of_runs(BEFORE, after)))
    assert finding.why == ("names were replaced in another way in the baseline",)
    assert found("host changed since baseline", of_runs(BEFORE, after)).all == ()


def test_pseudonyms_of_one_older_part_leave_keys_unknown() -> None:
    older, newest, after = (
        replace(run_after(FLEET, seed), redaction=how) for seed, how in ((1, "hash:aa"), (2, "hash:bb"), (3, "hash:bb"))
    )
    baseline = Baseline(newest, ((newest, ("cache-0", "cache-2", "cache-3")), (older, ("cache-1",))))
    finding = only(found("key changed since baseline", replace(of_runs(None, after), baseline=baseline)))
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.why == ("names were replaced in another way in the baseline",)


def test_event_ids_differ_between_runs() -> None:
    ids = {
        only(found("key risen since baseline", of_runs(BEFORE, run_after(FLEET, seed, times={40: 5.0})))).id
        for seed in (9, 10)
    }
    assert len(ids) == 2
