"""Changes since the previous run are found, and noise is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.playbook.findings import Certainty
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from tests.playbook.rules_evidence import fleet, found, named, of_runs, only, run_after
from tests.store.diff_traffic import Fleet

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


SLOW = replace(FLEET, rate=FLEET.rate // 10)
SILENT = replace(FLEET, rate=0)


@pytest.mark.parametrize(
    ("rule", "later", "message"),
    [
        ("fleet fallen 2 x since baseline", SLOW, "all requests fallen 0.10x"),
        ("fleet gone since baseline", SILENT, "all requests gone"),
        ("fleet changed since baseline", SILENT, "all requests gone"),
        ("changed since baseline", SILENT, "all requests gone"),
    ],
)
def test_fall_of_the_total_is_found(rule: str, later: Fleet, message: str) -> None:
    finding = only(found(rule, of_runs(BEFORE, run_after(later, 9))))
    assert message in finding.message
    assert finding.certainty is Certainty.CERTAIN


def test_total_that_begins_is_found() -> None:
    finding = only(found("fleet new since baseline", of_runs(run_after(SILENT, 1), run_after(FLEET, 9))))
    assert "all requests new at" in finding.message


@pytest.mark.parametrize("rule", ["key risen 2 x since baseline", "key.share > 5%", "template.share > 5%"])
def test_rule_on_keys_without_a_request_is_unknown(rule: str) -> None:
    finding = only(found(rule, of_runs(BEFORE, run_after(SILENT, 9))))
    assert finding.certainty is Certainty.UNKNOWN
    assert "no requests were counted" in finding.message


def test_change_within_its_interval_is_possible() -> None:
    given = of_runs(BEFORE, run_after(FLEET, 9, times={60: 2.0}))
    assert only(found("key risen since baseline", given)).certainty is Certainty.CERTAIN
    certainties = set()
    for seed in range(9, 30):
        for finding in found(
            "key risen 2 x since baseline", of_runs(BEFORE, run_after(FLEET, seed, times={60: 2.1}))
        ).all:
            certainties.add(finding.certainty)
            assert "the change may be 1." in finding.message
    assert certainties == {Certainty.POSSIBLE}


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
    assert (finding.certainty, finding.why) == (Certainty.UNKNOWN, ("no comparable run is stored",))


def test_missing_host_makes_changes_unknown() -> None:
    finding = only(found("key changed since baseline", of_runs(BEFORE, run_after(FLEET, 9, down=[2]))))
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.why == ("cache-2 cannot be compared with the baseline",)


def test_different_pseudonyms_are_not_compared() -> None:
    after = replace(run_after(FLEET, 9), redaction="hash:12345678")
    finding = only(found("key changed since baseline", of_runs(BEFORE, after)))
    assert finding.why == ("names were replaced in another way in the baseline",)
    assert found("host changed since baseline", of_runs(BEFORE, after)).all == ()


def test_event_ids_differ_between_runs() -> None:
    ids = {
        only(found("key risen since baseline", of_runs(BEFORE, run_after(FLEET, seed, times={40: 5.0})))).id
        for seed in (9, 10)
    }
    assert len(ids) == 2
