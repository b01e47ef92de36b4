"""`fleettrace.store.diff`: the changes that a comparison of two runs reports."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from fleettrace.errors import HostState
from fleettrace.store.diff.compare import compare
from fleettrace.store.diff.families import overlap
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Diff, ExcludedHost
from fleettrace.store.history.model import StoredRun, StoredTemplate
from fleettrace.summary.key import Key
from fleettrace.summary.run import Failure
from tests.store.diff_traffic import Fleet, random_fleet, window

CALM = Fleet(
    hosts=4,
    rate=20_000,
    weights=tuple(1 / (rank + 1) for rank in range(80)),
    places=tuple(rank % 4 for rank in range(80)),
    bursts=(0.05,) * 80,
)
"""A fleet of four hosts, in which key n is on host n % 4."""


def key(number: int) -> Key:
    return CALM.keys[number]


def drawn(seed: int, fleet: Fleet = CALM, seconds: int = 10, **changes: object) -> StoredRun:
    """Return a window of the fleet."""
    named = {"name": f"run-{seed}", "after": timedelta(hours=seed), **changes}
    return window(fleet, random.Random(seed), seconds=seconds, **named)  # type: ignore[arg-type]


def kinds(diff: Diff, subject: ComparedKind = ComparedKind.KEY) -> dict[object, str]:
    """Return the kind of change by name."""
    return {change.name: change.kind.value for change in diff.of(subject)}


def one(diff: Diff, kind: ChangeKind) -> Change:
    (change,) = [each for each in diff.changes if each.kind is kind]
    return change


def test_run_equals_itself() -> None:
    run = drawn(1)
    diff = compare(run, run)
    assert (diff.changes, diff.hosts, diff.excluded) == ((), ("cache-0", "cache-1", "cache-2", "cache-3"), ())
    assert diff.rate_before == diff.rate_after


def test_doubled_key_has_risen_by_ratio() -> None:
    diff = compare(drawn(1), drawn(2, times={9: 2.0}))
    assert kinds(diff) == {key(9): "risen"}
    change = one(diff, ChangeKind.RISEN)
    assert change.ratio is not None and change.ratio_min is not None and change.ratio_max is not None
    assert 1.25 < change.ratio_min < 2.0 < change.ratio_max < 3.0
    assert change.chance < 0.002
    assert change.before.share == pytest.approx(CALM.weights[9] / sum(CALM.weights), rel=0.1)


def test_halved_key_has_fallen() -> None:
    assert kinds(compare(drawn(1), drawn(2, times={9: 0.5}))) == {key(9): "fallen"}


def test_window_length_does_not_matter() -> None:
    assert compare(drawn(1), drawn(2, seconds=30)).changes == ()
    assert kinds(compare(drawn(1, seconds=30), drawn(2, times={9: 2.0}))) == {key(9): "risen"}


def test_new_and_gone_keys() -> None:
    diff = compare(drawn(1, times={20: 0.0}), drawn(2, times={30: 0.0}))
    assert kinds(diff) == {key(20): "new", key(30): "gone"}
    assert (one(diff, ChangeKind.NEW).ratio, one(diff, ChangeKind.GONE).ratio) == (None, None)
    assert one(diff, ChangeKind.NEW).before.requests_max == 0


def test_small_change_is_not_reported() -> None:
    busy = replace(CALM, rate=3e6, bursts=(0.0,) * 80)
    assert compare(drawn(1, busy), drawn(2, busy, times={5: 1.15})).changes == ()
    assert kinds(compare(drawn(1, busy), drawn(2, busy, times={5: 1.5}), min_change=0.8)) == {}


def test_dominant_key_can_double() -> None:
    heavy = replace(CALM, weights=(30.0, *CALM.weights[1:]))
    diff = compare(drawn(1, heavy), drawn(2, heavy, times={0: 2.0}))
    assert kinds(diff) == {key(0): "risen"}  # no other key has fallen, although all other shares have


def test_busier_fleet_has_no_risen_key() -> None:
    diff = compare(drawn(1), drawn(2, replace(CALM, rate=3 * CALM.rate)))
    assert kinds(diff) == kinds(diff, ComparedKind.HOST) == {}
    assert kinds(diff, ComparedKind.FLEET) == {"fleet.rate": "risen"}
    assert diff.rate_before is not None and diff.rate_after == pytest.approx(3 * diff.rate_before, rel=0.2)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (CALM, replace(CALM, rate=CALM.rate // 10), "fallen"),
        (CALM, replace(CALM, rate=0), "gone"),
        (replace(CALM, rate=0), CALM, "new"),
        (CALM, replace(CALM, rate=CALM.rate * 3 // 2), None),
    ],
)
def test_total_traffic_is_a_subject_of_its_own(before: Fleet, after: Fleet, kind: str | None) -> None:
    found = kinds(compare(drawn(1, before), drawn(2, after)), ComparedKind.FLEET)
    assert found == ({} if kind is None else {"fleet.rate": kind})


def test_given_multiple_holds_for_the_total() -> None:
    busier = drawn(2, replace(CALM, rate=CALM.rate * 3 // 2))
    assert kinds(compare(drawn(1), busier, fleet_change=0.3), ComparedKind.FLEET) == {"fleet.rate": "risen"}


@pytest.mark.parametrize("seed", range(20))
def test_unchanged_total_is_no_finding(seed: int) -> None:
    diff = compare(drawn(2 * seed + 1), drawn(2 * seed + 2), fleet_change=0.05)
    assert kinds(diff, ComparedKind.FLEET) == {}


def test_burst_is_not_a_change() -> None:
    run = drawn(2)
    burst = run.keys[9]
    extra = 4 * burst.requests // 5
    timeline = (*burst.timeline[:4], burst.timeline[4] + extra, *burst.timeline[5:])
    keys = list(run.keys)
    keys[9] = replace(
        burst,
        requests=burst.requests + extra,
        requests_max=burst.requests_max + extra,
        timeline=timeline,
        top_requests=0,
    )
    fleet = (*run.timeline[:4], run.timeline[4] + extra, *run.timeline[5:])
    assert burst.key not in kinds(compare(drawn(1), replace(run, keys=tuple(keys), timeline=fleet)))


def test_change_within_bounds_is_not_reported() -> None:
    before, after = drawn(1), drawn(2, times={9: 2.0})
    keys = [each if each.key != key(9) else replace(each, requests_max=3 * each.requests) for each in before.keys]
    assert kinds(compare(replace(before, keys=tuple(keys)), after)) == {}


def test_unstored_key_has_bound_of_unstored() -> None:
    before, after = drawn(1), drawn(2)
    left_out = replace(before, keys=before.keys[:9], absent=before.keys[9].requests)
    assert kinds(compare(left_out, after)) == {}


def test_failed_host_excludes_its_keys() -> None:
    diff = compare(drawn(1), drawn(2, failed=[1], times={8: 2.0}))
    assert kinds(diff) == {key(8): "risen"}
    assert [(each.host, each.why) for each in diff.excluded] == [("cache-1", "unreachable after")]
    assert diff.hosts == ("cache-0", "cache-2", "cache-3")


def test_host_with_doubled_traffic_has_risen() -> None:
    diff = compare(drawn(1), drawn(2, times=dict.fromkeys(range(3, 80, 4), 3.0)))
    assert kinds(diff, ComparedKind.HOST) == {"cache-3": "risen"}


def test_hosts_of_one_run_are_excluded() -> None:
    larger = drawn(2, replace(CALM, hosts=5))
    for before, after, why, kind in (
        (drawn(1), larger, "not selected before", "new"),
        (larger, drawn(1), "not selected after", "gone"),
    ):
        diff = compare(before, after)
        assert kinds(diff, ComparedKind.HOST) == {"cache-4": kind}
        assert diff.excluded == (ExcludedHost("cache-4", why),)


def test_key_that_changed_host_has_moved() -> None:
    diff = compare(drawn(1), drawn(2, places={5: 3}))
    change = one(diff, ChangeKind.MOVED)
    assert (change.name, change.host_before, change.host_after) == (key(5), "cache-1", "cache-3")


def test_replicated_key_does_not_move() -> None:
    everywhere = replace(CALM, places=(-1,) * 80)
    assert all(compare(drawn(n, everywhere), drawn(n + 1, everywhere)).changes == () for n in range(1, 9, 2))


def test_key_cannot_move_to_untraced_host() -> None:
    diff = compare(drawn(1, failed=[3]), drawn(2, places={5: 3}))
    assert ChangeKind.MOVED not in [change.kind for change in diff.changes]


def test_interrupted_run_is_compared_by_rates() -> None:
    cut = drawn(2, seconds=6)
    for host in cut.hosts:
        host.state = host.instances[0].state = HostState.INTERRUPTED
    diff = compare(drawn(1), cut)
    assert (len(diff.hosts), diff.changes) == (4, ())


def test_host_with_ended_instance_is_excluded() -> None:
    after = drawn(2)
    after.hosts[0].state = HostState.PARTIAL
    after.hosts[0].instances[0].error = Failure("memcached-ended", "it ended")
    after.hosts[1].instances[0].requests = None
    diff = compare(drawn(1), after)
    assert [each.host for each in diff.excluded] == ["cache-0", "cache-1"]


def test_different_probe_kinds_are_not_compared() -> None:
    after = drawn(2)
    for host in after.hosts[:2]:
        probe = host.instances[0].probe
        host.instances[0].probe = replace(probe, probe_kind="watch", exact=False)
    diff = compare(drawn(1), after)
    assert {each.why for each in diff.excluded} == {"counted by different means (exact; then watch)"}


def test_disjoint_runs_are_compared_in_total() -> None:
    other = drawn(2, times={9: 3.0})
    for host in other.hosts:
        host.host = host.host.replace("cache", "pool")
    diff = compare(drawn(1), other)
    assert kinds(diff) == {key(9): "risen"}
    assert diff.hosts == () and "no host is in both runs" in diff.notes[0]


def test_failed_runs_are_not_compared() -> None:
    diff = compare(drawn(1), drawn(2, failed=range(4)))
    assert (diff.tested, diff.changes, diff.hosts) == (0, (), ())


def test_different_redaction_is_not_compared() -> None:
    diff = compare(replace(drawn(1), redaction="hash:aa"), replace(drawn(2, times={9: 9.0}), redaction="hash:bb"))
    assert kinds(diff) == {} and "different secrets" in diff.notes[0]


@pytest.mark.parametrize(("times", "found"), [(2.5, {}), (60.0, {key(9): "risen"})])
def test_missing_timelines_need_larger_changes(times: float, found: dict[object, str]) -> None:
    before, after = (
        replace(
            run,
            timeline=(),
            keys=tuple(replace(each, timeline=()) for each in run.keys),
            hosts=tuple(replace(host, timeline=[]) for host in run.hosts),
        )
        for run in (drawn(1), drawn(2, times={9: times}))
    )
    assert kinds(compare(before, after)) == found


def test_windows_of_a_second_cause_no_alarm() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        fleet = random_fleet(rng, keys=120)
        diff = compare(window(fleet, rng, seconds=1, name="a"), window(fleet, rng, seconds=1, name="b"))
        assert kinds(diff) == kinds(diff, ComparedKind.HOST) == {}


def test_renamed_family_is_not_a_change() -> None:
    before, after = drawn(1), drawn(2, times=dict.fromkeys(range(10, 80), 4.0))
    assert kinds(compare(before, after), ComparedKind.TEMPLATE) == {"user:{}:profile": "risen"}
    again = drawn(2)
    halves = [replace(again.templates[0], template=name) for name in ("user:{}:{}", "user:1{}:profile")]
    split = [replace(each, requests=each.requests // 2) for each in halves]
    assert kinds(compare(before, replace(again, templates=tuple(split))), ComparedKind.TEMPLATE) == {}


def test_unambiguous_new_family_is_new() -> None:
    before, after = drawn(1), drawn(2)
    whole = before.templates[0]
    others = StoredTemplate("page:{}", before.total - whole.requests, 10, None)
    known = replace(before, templates=(whole, others))
    more = replace(after, templates=(after.templates[0], StoredTemplate("cart:{}", after.total // 3, 5, None)))
    assert kinds(compare(known, more), ComparedKind.TEMPLATE)["cart:{}"] == "new"


@pytest.mark.parametrize(
    ("a", "b", "together"),
    [
        ("user:{}:profile", "user:{}:{}", True),
        ("user:{}:profile", "user:1{}:profile", True),
        ("user:{}:profile", "user:{}:settings", False),
        ("user:{}:profile", "cart:{}", False),
        ("{}:a", "b:{}", True),
        ("a{}b{}c", "a{}c", True),
        ("a{}b", "ab", False),  # a variable part has at least one character
        ("{{{}}}", "{{x}}", True),
        ("~anything", "cart:{}", True),
    ],
)
def test_families_overlap_when_key_fits_both(a: str, b: str, together: bool) -> None:
    assert overlap(a, b) is overlap(b, a) is together
