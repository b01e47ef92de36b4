"""The findings of rules in a run, and how certain they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.playbook.findings import Certainty, Severity
from fleettrace.playbook.rules.eval_context import EvalContext, Evidence, Subject
from fleettrace.playbook.rules.fields import FIELDS, shown_value
from fleettrace.playbook.rules.judge import MAX_FINDINGS, judge
from fleettrace.playbook.rules.language import compile_rule
from fleettrace.playbook.rules.values import Bounds, Judgement, Verdict, compare_number
from fleettrace.report.build import build_report
from tests.playbook.rules_evidence import evidence, found, named, only
from tests.report.examples import HOSTILE, add_host, count, new_run, realistic

ALL = Evidence(build_report(realistic(), top=1000, templates=200))
CERTAIN, POSSIBLE, UNKNOWN = Certainty


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("key.share > 50%", ["a"]),
        ("key.share >= 25% and key.share <= 70%", ["a", "b"]),
        ("key.requests > 299", ["a", "b"]),
        ("key.rate > 40/s", ["a"]),
        ("key.rate > 0.03k/s or key.name == 'c'", ["a", "c"]),
        ("not key.share > 20%", ["c"]),
        ("not (key.share > 20% or key.requests < 50)", ["c"]),
        ("key.spread == everywhere", ["a"]),
        ("key.spread != one and key.hosts == 2", ["a"]),
        ("key.place <= 2", ["a", "b"]),
        ("key.certified and key.name ~ '[bc]'", ["b", "c"]),
        ("key.ops.get == 100%", ["a", "b", "c"]),
        ("key.top_host == 'h2'", ["a", "b"]),
        ("key.top_host.share > 60%", []),
        ("key.trend == none", ["a", "b", "c"]),
        ("key.misses > 0", []),
        ("host.load > 1.1 x mean", ["h2"]),
        ("host.load > 1.1x", ["h2"]),
        ("host.rate > 1.1 x mean", ["h2"]),
        ("host.requests < 500 and host.state == ok", ["h1"]),
        ("host.instances > 1", []),
        ("coverage < 99%", [""]),
        ("totals.coverage < 98%", []),
        ("hosts_missing > 0", []),
        ("hosts_ok == 100%", [""]),
        ("rate < 1k/s", [""]),
        ("key.share > 50% and totals.rate < 1k/s", ["a"]),
        ("imbalance > 1.1", [""]),
        ("distinct_keys >= 3", [""]),
    ],
)
def test_rule_on_exact_counts_is_certain(rule: str, names: list[str]) -> None:
    findings = found(rule, evidence({"a": 300, "c": 100}, {"a": 301, "b": 300}, misses=0))
    assert named(findings) == names
    assert all(one.certainty is CERTAIN for one in findings.all)


def test_threshold_within_bounds_makes_a_possible_finding() -> None:
    given = evidence({"sure": 500, "open": 190, "low": 100}, {"other": 210}, absent=20)
    findings = found("key.requests > 200", given)
    assert named(findings, CERTAIN) == ["sure", "other"]
    assert named(findings, POSSIBLE) == ["open"]
    assert findings.standing[-1].why == ("key.requests is 190 to 210",)
    assert findings.unknown == ()


def test_missing_host_leaves_counts_certain_parts_possible() -> None:
    given = evidence({"a": 900, "b": 100}, missing=["h2", "h3"])
    assert named(found("key.requests > 500", given), CERTAIN) == ["a"]
    part = found("key.share > 50%", given)
    assert named(part, POSSIBLE) == ["a"]
    assert part.standing[0].why == ("h[2-3] are missing or incomplete",)
    assert [one.certainty for one in part.all] == [POSSIBLE, UNKNOWN]


def test_missing_host_makes_absence_unknown() -> None:
    finding = only(found("key.requests > 1000", evidence({"a": 900}, missing=["h2"])))
    assert (finding.certainty, finding.name) == (UNKNOWN, None)
    assert finding.message == "not known for all (key.requests > 1000): h2 is missing or incomplete"
    assert found("key.requests > 1000", evidence({"a": 900})).all == ()


def test_missing_host_makes_upper_limits_possible() -> None:
    given = evidence({"a": 900}, missing=["h2"])
    assert [one.certainty for one in found("rate < 1k/s", given).all] == [POSSIBLE]
    assert [one.certainty for one in found("hosts_missing > 10%", given).all] == [CERTAIN]


def test_traced_host_is_certain_with_others_missing() -> None:
    given = evidence({"a": 900}, {"a": 100}, {"a": 110}, missing=["h4"])
    findings = found("host.load > 2 x mean", given)
    assert named(findings, CERTAIN) == ["h1"]
    assert findings.unknown[0].why == ("host.load is not known",)


def test_approximate_counts_make_nothing_certain() -> None:
    given = evidence({"a": 900, "b": 100}, approximate=True)
    findings = found("key.requests > 500", given)
    assert named(findings, POSSIBLE) == ["a"]
    assert findings.standing[0].why == ("counts are approximate on h1",)


def test_unmeasured_field_has_one_unknown_finding() -> None:
    finding = only(found("key.spread == one and key.misses > 50%", evidence({"a": 900, "b": 100})))
    assert finding.why == ("key.misses is not known",)


def test_misses_as_part_or_number() -> None:
    given = evidence({"a": 100, "b": 40}, misses=30)
    assert named(found("key.misses > 50%", given)) == ["b"]
    assert named(found("key.misses > 29", given)) == ["a", "b"]


def test_unlisted_key_can_exceed_the_threshold() -> None:
    given = evidence({"a": 10}, absent=30, unlisted=90)
    finding = only(found("key.requests > 20", given))
    assert finding.why == ("a key that is not listed may have had up to 30 requests",)
    assert finding.certainty is UNKNOWN
    assert found("key.requests > 30", given).all == ()
    assert named(found("key.requests < 30", given)) == ["a"]


def test_number_of_findings_is_bounded() -> None:
    findings = found("key.requests > 0", evidence({f"key:{number:04}": 10 for number in range(MAX_FINDINGS + 20)}))
    assert len(findings.all) == MAX_FINDINGS + 1
    assert findings.all[-1].message == "20 more (key.requests > 0)"


def test_findings_are_sorted_and_filtered_by_severity() -> None:
    rules = [
        compile_rule("key.share > 50%", severity=Severity.LOW),
        compile_rule("coverage < 100%", severity=Severity.HIGH),
        compile_rule("changed since baseline", severity=Severity.HIGH),
    ]
    findings = judge(rules, evidence({"a": 900, "b": 10}))
    assert [(one.severity, one.certainty) for one in findings.all] == [
        (Severity.HIGH, CERTAIN),
        (Severity.HIGH, UNKNOWN),
        (Severity.LOW, CERTAIN),
    ]
    assert [one.rule for one in findings.at_or_over(Severity.MEDIUM)] == ["coverage < 100%"]


def test_finding_document_has_its_evidence() -> None:
    finding = only(found("key.share > 50% and totals.rate < 1k/s", evidence({"a": 900, "b": 100}, absent=10)))
    assert finding.document() == {
        "id": finding.id,
        "rule": "key.share > 50% and totals.rate < 1k/s",
        "severity": "medium",
        "certainty": "certain",
        "subject": "key",
        "name": "a",
        "name_base64": "YQ==",
        "message": "key a: share 90.0%, rate 100/s (key.share > 50% and totals.rate < 1k/s)",
        "figures": [
            {"field": "key.share", "low": 0.9, "high": 0.9, "shown": "90.0%"},
            {"field": "totals.rate", "low": 100.0, "high": 100.0, "shown": "100/s"},
        ],
        "why": [],
        "event": None,
    }


def test_hostile_names_are_escaped() -> None:
    run = new_run()
    add_host(run, "h1", {data: count([10] * 10) for data in HOSTILE})
    given = Evidence(build_report(run, top=100))
    rule = compile_rule("key.requests > 1", message="{key.name} on {key.top_host} has {key.share}", name="\x1b[31mred")
    findings = judge([rule, compile_rule("key.requests > 1")], given)
    assert len(findings.all) == 2 * len(HOSTILE)
    for one in findings.all:
        text = f"{one.message}{one.rule}{one.shown}"
        assert text.isprintable() and "\u202e" not in text and "\n" not in text


def test_braces_of_a_key_are_not_expanded() -> None:
    rule = compile_rule("key.share > 50%", message="{key.name}: {{{key.share}}}")
    findings = judge([rule], evidence({"{totals.rate}{": 900, "b": 100}))
    assert only(findings).message == "{totals.rate}{: {90.0%}"


def test_every_field_reads_every_subject() -> None:
    context = EvalContext(ALL)
    for field in FIELDS.values():
        for subject in [*context.subjects(field.kind), Subject(field.kind)]:
            for unit, read in field.units.items():
                measurement = read(context, subject)
                assert shown_value(measurement.seen, unit).isprintable()
                if isinstance(measurement.seen, Bounds) and isinstance(measurement.fleet, Bounds):
                    assert (
                        measurement.fleet.low <= measurement.seen.low <= measurement.seen.high <= measurement.fleet.high
                    )


def test_finding_id_is_stable_across_runs() -> None:
    first, again = (only(found("key.share > 50%", evidence({"a": a, "b": 100}))) for a in (900, 800))
    other = only(found("key.share > 50%", evidence({"c": 900, "b": 100})))
    assert first.id == again.id != other.id
    assert first.id != replace(first, severity=Severity.HIGH).id


numbers = st.integers(0, 4).map(float)
bounds = st.tuples(numbers, numbers).map(lambda pair: Bounds(min(pair), max(pair)))
OPERATORS = {
    ">": float.__gt__,
    ">=": float.__ge__,
    "<": float.__lt__,
    "<=": float.__le__,
    "==": float.__eq__,
    "!=": float.__ne__,
}


@given(bounds, st.sampled_from(sorted(OPERATORS)), bounds)
def test_comparison_agrees_with_all_values_in_bounds(value: Bounds, operator: str, limit: Bounds) -> None:
    def between(one: Bounds) -> list[float]:
        return [one.low + part / 2 for part in range(int(2 * (one.high - one.low)) + 1)]

    results = {OPERATORS[operator](a, b) for a in between(value) for b in between(limit)}
    expected = Verdict.OPEN if len(results) == 2 else Verdict.YES if True in results else Verdict.NO
    assert compare_number(value, operator, limit) is expected


verdicts = st.sampled_from(Verdict)
judgements = st.builds(Judgement, verdicts, verdicts)


@given(judgements, judgements, judgements)
def test_judgements_form_an_algebra(a: Judgement, b: Judgement, c: Judgement) -> None:
    def pair(one: Judgement) -> tuple[Verdict, Verdict]:
        return one.seen, one.fleet

    assert pair(a & b) == pair(b & a)
    assert pair((a & b) & c) == pair(a & (b & c))
    assert pair(a | b) == pair(b | a)
    assert pair((a | b) | c) == pair(a | (b | c))
    assert pair(~~a) == pair(a)
