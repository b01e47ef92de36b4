"""Rules on fleets with known truth of which a part is traced: certain findings are true, and no true one is lost
without an unknown finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import HostState
from fleettrace.playbook.findings import Certainty
from fleettrace.playbook.rules.eval_context import Evidence
from fleettrace.report.build import build_report
from fleettrace.store.history.model import stored_run
from fleettrace.summary.counts import KeyCount
from tests.playbook.rules_evidence import found
from tests.report.examples import add_host, failed, new_run


class Host(NamedTuple):
    """The requests of a host. It lists keys with more than `cut` requests, and nothing when it is down."""

    counts: Mapping[str, int]
    cut: int
    down: bool


hosts = st.builds(
    Host,
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), max_size=6),
    st.sampled_from([0, 0, 3, 10, 20]),
    st.sampled_from([False, False, False, True]),
)


def seen(fleet: Sequence[Host]) -> Evidence:
    """Return the evidence of a run with windows of ten seconds."""
    run = new_run("all")
    for number, host in enumerate(fleet):
        if host.down:
            failed(run, f"h{number}", HostState.UNREACHABLE, "connect", "no route")
            continue
        listed = {name: count for name, count in host.counts.items() if count > host.cut}
        rest = [count for name, count in host.counts.items() if name not in listed]
        counts = {name.encode(): KeyCount(count, timeline=[count] + [0] * 9) for name, count in listed.items()}
        add_host(run, f"h{number}", counts, absent=max(rest, default=0), unlisted=sum(rest))
    return Evidence(build_report(run, top=1000, templates=200), stored_run(run))


def truth(fleet: Sequence[Host], field: str) -> dict[str, float]:
    """Return the true values of all keys."""
    totals: dict[str, int] = {}
    for host in fleet:
        for name, count in host.counts.items():
            totals[name] = totals.get(name, 0) + count
    everything = sum(totals.values())
    by = {"key.requests": 1, "key.rate": 10, "key.share": everything}[field]
    return {name: count / by for name, count in totals.items()}


LIMITS = {"key.requests": ["10", "35", "60"], "key.rate": ["2/s", "5/s"], "key.share": ["10%", "30%", "60%"]}
rules = st.sampled_from([(field, limit) for field, limits in LIMITS.items() for limit in limits])


@settings(max_examples=300)
@given(st.lists(hosts, min_size=1, max_size=4), rules)
def test_certain_findings_exceed_the_threshold(fleet: list[Host], rule: tuple[str, str]) -> None:
    field, limit = rule
    findings = found(f"{field} > {limit}", seen(fleet))
    line = float(limit.rstrip("/s%")) / (100 if limit.endswith("%") else 1)
    over = {name for name, value in truth(fleet, field).items() if value > line + 1e-9}
    certain = {one.shown for one in findings.all if one.certainty is Certainty.CERTAIN}
    assert certain <= over
    assert findings.unknown or over <= {one.shown for one in findings.standing}
    if all(not host.down and not host.cut for host in fleet) and truth(fleet, field):
        assert (certain, findings.unknown) == (over, ())


@settings(max_examples=200)
@given(st.lists(hosts, min_size=1, max_size=4), rules)
def test_negated_rule_is_sound(fleet: list[Host], rule: tuple[str, str]) -> None:
    field, limit = rule
    findings = found(f"not {field} > {limit}", seen(fleet))
    line = float(limit.rstrip("/s%")) / (100 if limit.endswith("%") else 1)
    over = {name for name, value in truth(fleet, field).items() if value > line + 1e-9}
    assert not {one.shown for one in findings.all if one.certainty is Certainty.CERTAIN} & over
