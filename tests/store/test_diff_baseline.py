"""Each host is compared with the newest comparable run that traced it completely."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fleettrace.errors import HostState
from fleettrace.store.diff.baseline import Baseline, choose
from fleettrace.store.diff.compare import compare
from fleettrace.store.diff.model import ComparedKind, Diff
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.run import ProbeVerdict
from tests.store.diff_traffic import Fleet, random_fleet, window
from tests.store.test_diff import CALM, drawn, key, kinds


def baseline_of(run: StoredRun, *earlier: StoredRun) -> Baseline:
    """Return the baseline of a run among these, the oldest first."""
    by_id = {each.info.id: each for each in earlier}

    def traced(host: str) -> list[str]:
        return [name for name, each in by_id.items() if any(one.host == host and one.instances for one in each.hosts)]

    chosen = choose(run, list(reversed(by_id)), by_id.__getitem__, traced)
    assert chosen is not None
    return chosen


def judged(*runs: StoredRun) -> Diff:
    """Compare the last run with its baseline among the others."""
    return compare(baseline_of(runs[-1], *runs[:-1]), runs[-1])


def older(diff: Diff) -> dict[str, tuple[str, ...]]:
    return {each.run: each.hosts for each in diff.older}


def test_change_during_an_absence_is_found_on_return() -> None:
    diff = judged(drawn(1), drawn(2, failed=[1]), drawn(3, times={9: 40.0}))
    assert kinds(diff)[key(9)] == "risen"
    assert older(diff) == {"run-1": ("cache-1",)}
    (change,) = [one for one in diff.changes if one.name == key(9)]
    assert change.surely(10)
    assert len(diff.hosts) == 4 and diff.excluded == ()


@pytest.mark.parametrize("away", [[1], [1, 2], [0, 3]], ids=str)
def test_long_absence_has_an_older_baseline(away: list[int]) -> None:
    absent = [drawn(number, failed=away) for number in range(2, 8)]
    diff = judged(drawn(1), *absent, drawn(9))
    assert (diff.changes, len(diff.hosts)) == ((), 4)
    assert older(diff) == {"run-1": tuple(f"cache-{number}" for number in away)}


def test_hosts_that_flap_in_turn_hide_nothing() -> None:
    runs = [drawn(number, failed=[number % 4]) for number in range(1, 9)]
    diff = judged(*runs, drawn(9, times={10: 3.0, 13: 0.2}))
    assert kinds(diff) == {key(10): "risen", key(13): "fallen"}
    assert len(diff.hosts) == 4


def test_host_never_traced_is_not_compared() -> None:
    diff = judged(drawn(1, failed=[2]), drawn(2, failed=[2]), drawn(3))
    assert [(one.host, one.why) for one in diff.excluded] == [("cache-2", "unreachable before")]
    assert kinds(diff) == {}


def test_windows_of_different_lengths_are_combined() -> None:
    runs = [drawn(1, seconds=30), drawn(2, failed=[1]), drawn(3, seconds=20)]
    assert judged(*runs).changes == ()
    runs[-1] = drawn(3, seconds=20, times={9: 2.5})
    assert kinds(judged(*runs)) == {key(9): "risen"}


def test_host_counted_by_other_means_needs_a_like_baseline() -> None:
    approximate = drawn(2)
    approximate.hosts[1].instances[0].probe = ProbeVerdict("watch", False)
    diff = judged(drawn(1), approximate, drawn(3))
    assert older(diff) == {"run-1": ("cache-1",)}


def test_key_that_moves_off_a_lost_host_is_not_certainly_new() -> None:
    after = drawn(3, places={1: 2}, failed=[1])
    diff = judged(drawn(1), drawn(2), after)
    (change,) = [one for one in diff.changes if one.name == key(1)]
    assert (change.kind.value, change.surely(1.25)) == ("new", False)
    grown = judged(drawn(1), drawn(2), drawn(3, times={8: 6.0}, failed=[1]))
    (change,) = grown.of(ComparedKind.KEY)
    assert (change.name, change.surely(1.25)) == (key(8), True)
    less = judged(drawn(1), drawn(2), drawn(3, times={8: 0.1}, failed=[1]))
    (change,) = less.of(ComparedKind.KEY)
    assert (change.name, change.surely(1.25)) == (key(8), False)


def test_host_without_memcached_has_a_baseline_of_nothing() -> None:
    stopped = drawn(2, failed=[1])
    stopped.hosts[1].state = HostState.NO_INSTANCES
    diff = judged(drawn(1), stopped, drawn(3))
    assert kinds(diff, ComparedKind.HOST) == {"cache-1": "new"}
    assert diff.older == ()


def quiet(seed: int) -> Diff:
    """Compare the last of five runs of an unchanged fleet, of which each host misses a third."""
    rng = random.Random(seed)
    fleet = random_fleet(rng, keys=120)
    fleet = replace(fleet, hosts=max(fleet.hosts, 3))

    def missed() -> Sequence[int]:
        return [host for host in range(fleet.hosts) if rng.random() < 0.35]

    runs = [
        window(fleet, rng, seconds=rng.choice([6, 10, 20]), failed=missed(), name=f"run-{number}")
        for number in range(5)
    ]
    return judged(*runs)


@pytest.mark.slow
def test_flapping_quiet_fleets_have_no_findings() -> None:
    diffs = [quiet(seed) for seed in range(60)]
    assert sum(bool(diff.older) for diff in diffs) > 30
    assert [diff.changes for diff in diffs if diff.changes] == []


@pytest.mark.parametrize("busier", [0.3, 3.0])
def test_absence_over_a_daily_rhythm_is_no_change(busier: float) -> None:
    now = replace(CALM, rate=busier * CALM.rate)
    diff = judged(drawn(1), drawn(2, now, failed=[1]), drawn(3, now))
    assert (diff.changes, len(diff.hosts)) == ((), 4)
    assert diff.older[0].level == pytest.approx(busier, rel=0.1)
    changed = judged(drawn(1), drawn(2, now, failed=[1]), drawn(3, now, times={9: 4.0}))
    assert kinds(changed)[key(9)] == "risen"


def test_one_hot_host_is_not_the_level_of_all() -> None:
    hot = dict.fromkeys(range(3, 80, 4), 4.0)
    for away in (0, 1):
        diff = judged(drawn(1), drawn(2, failed=[away], times=hot), drawn(3, times=hot))
        assert diff.older[0].level == pytest.approx(1, rel=0.05)
        assert [change for change in diff.changes if change.subject is not ComparedKind.FLEET] == []


def test_few_common_hosts_are_no_level() -> None:
    diff = judged(drawn(1), drawn(2, failed=[0, 1, 2]), drawn(3))
    assert (diff.older, diff.hosts, diff.changes) == ((), ("cache-3",), ())
    assert [one.why for one in diff.excluded] == ["unreachable before"] * 3


def test_level_is_unknown_without_common_hosts() -> None:
    now = replace(CALM, rate=3 * CALM.rate)
    diff = judged(drawn(1), drawn(2, now, failed=[0, 1, 2, 3]), drawn(3, now))
    assert diff.older[0].level == 1.0
    assert kinds(diff, ComparedKind.FLEET) == {"fleet.rate": "risen"}


def test_summed_bounds_hold_for_the_true_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleettrace.store.diff.combined.level", lambda *_: 1.0)
    for seed in range(12):
        rng = random.Random(seed)
        fleet = replace(random_fleet(rng, keys=90, rate=3e4), hosts=4, places=tuple(n % 5 - 1 for n in range(90)))

        def runs(printed: int, seed: int = seed, fleet: Fleet = fleet) -> list[StoredRun]:
            again = random.Random(seed)
            cut = replace(fleet, printed=printed)
            return [window(cut, again, failed=missed, name=f"run-{len(missed)}") for missed in ([], [1, 2])]

        exact, counts = runs(10_000), baseline_of(drawn(3), *runs(12)).counts()
        for each in fleet.keys:
            listed = [
                dict(run.hosts[host].top).get(each, 0)
                for run, hosts in zip(exact, ((1, 2), (0, 3)), strict=True)
                for host in hosts
            ]
            assert counts.key(each).least <= sum(listed) <= counts.key(each).most


def test_host_redacted_otherwise_hides_no_change() -> None:
    runs = [
        replace(drawn(1), redaction="hash:aa"),
        replace(drawn(2, failed=[1]), redaction="hash:bb"),
        replace(drawn(3, times={10: 40.0}), redaction="hash:bb"),
    ]
    diff = judged(*runs)
    assert kinds(diff)[key(10)] == "risen"
    assert [(one.host, one.why) for one in diff.excluded] == [("cache-1", "unreachable before")]
    assert diff.notes == ()
