"""`FleetSummary`: independent of the order, idempotent, with valid bounds and certificates."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.fleet import FleetSummary, Ranked
from fleettrace.summary.key import Key
from fleettrace.summary.slices import MapLimits
from tests.summary.kernel import Request, key, run_slice, summarise
from tests.summary.strategies import summaries

KEYS = 16
Hosts = dict[str, dict[str, Summary]]

hosts = st.dictionaries(
    st.sampled_from(["c1", "c2", "c3", "c4"]), st.dictionaries(st.sampled_from(["1", "2"]), summaries, max_size=2)
)


def fleet_of(arrivals: list[tuple[str, dict[str, Summary]]]) -> FleetSummary:
    fleet = FleetSummary()
    for host, instances in arrivals:
        fleet.add_host("run", host, instances)
    return fleet


def state(fleet: FleetSummary, *, hottest: bool = True) -> object:
    """Return all values of a fleet's summary."""
    ranks = fleet.rank(100)
    rows = [(row.key, row.known, row.requests_max, row.certified, row.hosts) for row in ranks]
    tops = [(row.top_host, row.top_requests) for row in ranks] if hottest else []
    return fleet.total, fleet.absent, fleet.timeline, fleet.sources, rows, tops


@given(hosts, st.randoms(use_true_random=False))
def test_order_of_hosts_does_not_matter(arrived: Hosts, rng: random.Random) -> None:
    shuffled = list(arrived.items())
    rng.shuffle(shuffled)
    assert state(fleet_of(shuffled)) == state(fleet_of(list(arrived.items())))


@given(hosts, st.lists(st.integers(0, 3), max_size=6))
def test_repeated_summary_is_merged_once(arrived: Hosts, again: list[int]) -> None:
    once = list(arrived.items())
    repeated = once + [once[index % len(once)] for index in again if once]
    assert state(fleet_of(repeated)) == state(fleet_of(once))


@settings(max_examples=40)
@given(hosts)
def test_instances_can_be_added_separately(arrived: Hosts) -> None:
    single = [(host, {name: part}) for host, instances in arrived.items() for name, part in instances.items()]
    whole = [(host, instances) for host, instances in arrived.items() if instances]
    assert state(fleet_of(single), hottest=False) == state(fleet_of(whole), hottest=False)


@settings(max_examples=40)
@given(hosts)
def test_add_does_not_change_argument(arrived: Hosts) -> None:
    instances = [summary for parts in arrived.values() for summary in parts.values()]
    before = [
        (summary.total, summary.absent, {name: known.copy() for name, known in summary.keys.items()})
        for summary in instances
    ]
    fleet_of([*arrived.items(), *[(f"{host}x", parts) for host, parts in arrived.items()]])
    assert [(summary.total, summary.absent, summary.keys) for summary in instances] == before


# Traffic of several hosts through small maps: the fleet's summary is compared with the true counts.

traffic = st.lists(
    st.tuples(
        st.lists(st.tuples(st.just(0), st.one_of(st.integers(0, 2), st.integers(0, KEYS - 1)), st.integers(0, 1)),
                 max_size=60),
        st.builds(MapLimits, capacity=st.integers(1, 30), printed=st.integers(1, 12), tags=st.just(2)),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip
Traffic = list[tuple[list[Request], MapLimits]]


def traced(hosts: Traffic, slices: int = 2) -> tuple[FleetSummary, Counter[Key]]:
    """Return the fleet's summary of the traffic, each host's in this many slices, and the true counts."""
    fleet, truth = FleetSummary(), Counter[Key]()
    for number, (requests, limits) in enumerate(hosts):
        host = Summary()
        for bucket in range(slices):
            kernel = run_slice(requests[bucket::slices], limits, 1)
            host.add(summarise(kernel.parts[0], limits, bucket, None))
            truth.update(kernel.truth[0])
        fleet.add_host("run", f"c{number}", {"1": host})
    return fleet, truth


def is_in_top(truth: Counter[Key], name: Key, n: int) -> bool:
    return sum(count > truth[name] for count in truth.values()) < n


@given(traffic)
def test_bounds_contain_true_counts(hosts: Traffic) -> None:
    fleet, truth = traced(hosts)
    rows = {row.key: row for row in fleet.rank(1000)}
    for number in range(KEYS):
        row = rows.get(key(number))
        if row is None:
            assert truth[key(number)] <= fleet.absent
        else:
            assert row.known.requests <= truth[key(number)] <= row.requests_max
    assert fleet.total == truth.total()


@settings(max_examples=150)
@given(traffic, st.integers(1, 8))
def test_certified_key_is_in_true_top(hosts: Traffic, n: int) -> None:
    fleet, truth = traced(hosts)
    for row in fleet.rank(n):
        assert not row.certified or is_in_top(truth, row.key, n)


@given(traffic, st.integers(1, 8))
def test_exact_counts_certify_top(hosts: Traffic, n: int) -> None:
    roomy = MapLimits(capacity=1000, printed=1000, tags=2)
    fleet, truth = traced([(requests, roomy) for requests, _ in hosts])
    ranked = fleet.rank(n)
    assert all(row.certified for row in ranked)
    assert [row.known.requests for row in ranked] == sorted(truth.values(), reverse=True)[:n]


@given(traffic)
def test_missing_host_certifies_nothing(hosts: Traffic) -> None:
    assert not any(row.certified for row in traced(hosts)[0].rank(10, bounds_open=True))


@settings(max_examples=150)
@given(traffic, st.integers(1, 8), st.integers(1, 40), st.integers(0, KEYS))
def test_untraced_requests_raise_all_bounds(hosts: Traffic, n: int, missing: int, of: int) -> None:
    fleet, truth = traced(hosts)
    truth[key(of)] += missing
    for row in fleet.rank(n, missing=missing):
        assert not row.certified or is_in_top(truth, row.key, n)


@given(traffic)
def test_top_host_listed_most_requests(hosts: Traffic) -> None:
    alone = {f"c{number}": traced([host])[0] for number, host in enumerate(hosts)}
    for row in traced(hosts)[0].rank(1000):
        counts = {host: fleet.keys[row.key].top_requests for host, fleet in alone.items() if row.key in fleet.keys}
        assert (row.top_host, row.top_requests) == min(counts.items(), key=lambda item: (-item[1], item[0]))
        assert row.hosts == len(counts)


@given(traffic)
def test_renamed_keys_keep_their_numbers(hosts: Traffic) -> None:
    fleet, _ = traced(hosts)
    renamed = fleet.renamed(lambda name: Key.whole(b"x" + name.data))
    assert [_numbers(row) for row in renamed.rank(100)] == [_numbers(row) for row in fleet.rank(100)]
    assert renamed.sources == fleet.sources


@given(traffic)
def test_equal_new_names_are_added(hosts: Traffic) -> None:
    fleet, truth = traced(hosts)

    def pair(name: Key) -> Key:
        return key(int(name.data[1:]) // 2 * 2)

    for row in fleet.renamed(pair).rank(100):
        number = int(row.key.data[1:])
        both = truth[key(number)] + truth[key(number + 1)]
        assert row.known.requests <= both
        # The one that no host listed does not contribute to the name's bound.
        listed = [name for name in (key(number), key(number + 1)) if name in fleet.keys]
        assert sum(truth[name] for name in listed) <= row.requests_max


@given(traffic)
def test_nameless_keeps_largest_bound(hosts: Traffic) -> None:
    fleet, truth = traced(hosts)
    nameless = fleet.nameless()
    assert nameless.keys == {}
    assert nameless.total == fleet.total
    assert all(count <= nameless.absent for count in truth.values())


def _numbers(row: Ranked) -> tuple[object, ...]:
    return row.known, row.requests_max, row.certified, row.hosts, row.top_host, row.top_requests


@pytest.mark.parametrize("n", [1, 2])
def test_ties_at_edge_are_certified(n: int) -> None:
    fleet = FleetSummary()
    fleet.add_host("run", "c1", {"1": Summary(30, 0, {key(number): KeyCount(10) for number in range(3)})})
    assert all(row.certified for row in fleet.rank(n))
