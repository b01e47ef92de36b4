"""Windows that are too short to judge are named, in one finding; renamed hosts are suggested."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fleettrace.playbook.findings import Certainty, Severity
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from fleettrace.store.history.model import StoredRun
from tests.playbook.rules_evidence import fleet, found, named, of_runs, only
from tests.store.diff_traffic import Fleet, window

BURSTY = replace(fleet(rate=20_000), bursts=(0.1,) * 200, memory=0.3, swing=0.05)


def drawn(seed: int, seconds: int, traffic: Fleet = BURSTY) -> StoredRun:
    return window(traffic, random.Random(seed), seconds=seconds, name=f"run-{seed}")


@pytest.mark.parametrize(
    "rule",
    ["changed since baseline", "key risen 2x since baseline", "template new since baseline", "new key in top 10"],
)
def test_short_windows_are_unknown_with_a_cure(rule: str) -> None:
    finding = only(found(rule, of_runs(drawn(1, 3), drawn(2, 3))))
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.message.startswith("the windows are too short for 1 rule since baseline: a rise to less than ")
    assert "s would show a doubling" in finding.message


@pytest.mark.parametrize(
    "rule", ["fleet.rate changed since baseline", "host risen since baseline", "key risen 20x since baseline"]
)
def test_short_windows_suffice_for_large_changes(rule: str) -> None:
    assert found(rule, of_runs(drawn(1, 3), drawn(2, 3))).all == ()


def test_short_windows_do_not_prove_the_opposite() -> None:
    finding = only(found("not key risen 2x since baseline and key.share > 0.1%", of_runs(drawn(1, 3), drawn(2, 3))))
    assert finding.certainty is Certainty.UNKNOWN


def test_long_windows_judge_every_rule() -> None:
    assert found("changed since baseline", of_runs(drawn(1, 15), drawn(2, 15))).all == ()


def test_one_finding_stands_for_all_rules() -> None:
    rules = [
        compile_rule("key risen 2x since baseline", severity=Severity.LOW),
        compile_rule("changed since baseline", severity=Severity.HIGH),
        compile_rule("key.share > 90%"),
    ]
    finding = only(judge(rules, of_runs(drawn(1, 3), drawn(2, 3))))
    assert (finding.severity, "for 2 rules" in finding.message) == (Severity.HIGH, True)


def renamed(run: StoredRun, name: str, new: str) -> StoredRun:
    for host in run.hosts:
        if host.host == name:
            host.host = new
    keys = tuple(replace(key, top_host=new if key.top_host == name else key.top_host) for key in run.keys)
    return replace(run, keys=keys)


def marked(run: StoredRun, **marks: tuple[str, ...]) -> StoredRun:
    for host in run.hosts:
        host.marks = marks.get(host.host.replace("-", "_"), ())
    return run


def test_renamed_host_is_suggested() -> None:
    before = marked(drawn(1, 10), cache_0=("boot-a", "addr-a"), cache_1=("boot-a", "addr-b"))
    after = renamed(drawn(2, 10), "cache-0", "memc-7")
    after = marked(after, memc_7=("boot-b", "addr-a"), cache_1=("boot-b", "addr-b"))
    gone = found("host gone since baseline", of_runs(before, after))
    assert named(gone) == ["cache-0"]
    assert "; it may be memc-7 under another name" in gone.standing[0].message
    (new,) = found("host new since baseline", of_runs(before, after)).standing
    assert (new.shown, "; it may be cache-0 under another name" in new.message) == ("memc-7", True)


def test_hosts_of_one_machine_are_not_confused() -> None:
    before = marked(drawn(1, 10), cache_0=("boot-a",), cache_1=("boot-a",))
    after = renamed(renamed(drawn(2, 10), "cache-0", "x"), "cache-1", "y")
    after = marked(after, x=("boot-a",), y=("boot-a",))
    findings = found("host gone since baseline", of_runs(before, after))
    assert len(findings.standing) == 2
    assert not any("may be" in one.message for one in findings.all)
