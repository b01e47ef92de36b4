"""Evidence for rules: small fleets with bounds, missing hosts and earlier runs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from fleettrace.errors import HostState
from fleettrace.playbook.findings import Certainty, Finding, Findings
from fleettrace.playbook.rules.eval_context import Evidence
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from fleettrace.report.build import build_report
from fleettrace.store.diff.baseline import Baseline
from fleettrace.store.history.model import StoredRun, result_of, stored_run
from fleettrace.summary.counts import KeyCount
from fleettrace.summary.run import InstanceResult, ProbeVerdict
from tests.report.examples import add_host, failed, new_run
from tests.store.diff_traffic import Fleet, window

__all__ = ["evidence", "fleet", "found", "named", "of_runs", "run_after"]

APPROXIMATE = ProbeVerdict("watch", False)


def evidence(
    *hosts: Mapping[str, int],
    absent: int = 0,
    unlisted: int = 0,
    missing: Sequence[str] = (),
    approximate: bool = False,
    misses: int | None = None,
) -> Evidence:
    """Return a run of ten seconds over hosts with these keys; `absent` applies to each host."""

    def change(instance: InstanceResult) -> None:
        if approximate:
            instance.probe = APPROXIMATE

    run = new_run("all")
    for number, keys in enumerate(hosts, 1):
        counts = {
            name.encode(): KeyCount(count, 0, {"get": count}, misses, None, [count // 10] * 10)
            for name, count in keys.items()
        }
        for count, known in zip(keys.values(), counts.values(), strict=True):
            known.timeline[0] += count % 10
        add_host(run, f"h{number}", counts, absent=absent, unlisted=unlisted, instance=change)
    for name in missing:
        failed(run, name, HostState.UNREACHABLE, "connect", "no route")
    return Evidence(build_report(run, top=1000, templates=200), stored_run(run))


def found(rule: str, given: Evidence) -> Findings:
    """Return the findings of one rule."""
    return judge([compile_rule(rule)], given)


def named(findings: Findings, certainty: Certainty | None = None) -> list[str]:
    """Return the names of the standing findings, in their order."""
    return [one.shown for one in findings.standing if certainty in (None, one.certainty)]


def only(findings: Findings) -> Finding:
    """Return the only finding."""
    (one,) = findings.all
    return one


def fleet(*, keys: int = 200, hosts: int = 4, rate: float = 50_000) -> Fleet:
    """Return a fleet with steady traffic, each key on one host."""
    weights = tuple((rank + 1) ** -0.9 for rank in range(keys))
    return Fleet(hosts, rate, weights, tuple(rank % hosts for rank in range(keys)), (0.0,) * keys)


def run_after(
    traffic: Fleet,
    seed: int,
    *,
    times: Mapping[int, float] | None = None,
    places: Mapping[int, int] | None = None,
    down: Sequence[int] = (),
) -> StoredRun:
    """Return a window; `times` and `places` are the changes."""
    return window(traffic, random.Random(seed), times=times, places=places, failed=down, name=f"run-{seed}")


def of_runs(before: StoredRun | None, after: StoredRun) -> Evidence:
    """Return the evidence of a run and its baseline."""
    baseline = None if before is None else Baseline.of(before)
    return Evidence(build_report(result_of(after), top=1000, templates=200), after, baseline)
