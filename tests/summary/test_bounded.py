"""After `bound`, every true count is still inside its bounds, and memory is bounded."""

from __future__ import annotations

import tracemalloc
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.fleet import FleetSummary
from fleettrace.summary.key import Key
from fleettrace.summary.slices import MapLimits
from fleettrace.sweep.settings import FLEET_KEYS, keys_per_host
from tests.summary.kernel import Request, key, run_slice, summarise
from tests.summary.strategies import summaries

KEYS = 24
requests = st.lists(st.tuples(st.just(0), st.integers(0, KEYS - 1), st.integers(0, 1)), max_size=80)
limits = st.builds(MapLimits, capacity=st.integers(1, 40), printed=st.integers(1, 20), tags=st.just(2))
hosts = st.lists(st.tuples(requests, limits, st.integers(1, 8)), min_size=1, max_size=5)


def host_of(traffic: list[Request], bounds: MapLimits, most: int, truth: Counter[Key]) -> Summary:
    """Return the summary of traffic in three slices, bounded after each."""
    host = Summary()
    for bucket in range(3):
        kernel = run_slice(traffic[bucket::3], bounds, 1)
        host.add(summarise(kernel.parts[0], bounds, bucket, None))
        host.bound(most)
        truth.update(kernel.truth[0])
    return host


@given(summaries, st.integers(1, 3))
def test_bound_keeps_upper_bounds(summary: Summary, most: int) -> None:
    before = {name: (summary.lower(name), summary.upper(name)) for name in summary.keys}
    total = summary.total
    summary.bound(most)
    assert len(summary.keys) <= most + most // 2
    assert summary.total == total
    for name, (lower, upper) in before.items():
        if name in summary.keys:
            assert (summary.lower(name), summary.upper(name)) == (lower, upper)
        else:
            assert (summary.lower(name), summary.upper(name) >= upper) == (0, True)


@given(requests, limits, st.integers(1, 8))
def test_bounded_host_bounds_true_counts(traffic: list[Request], bounds: MapLimits, most: int) -> None:
    truth = Counter[Key]()
    host = host_of(traffic, bounds, most, truth)
    assert host.total == truth.total()
    for number in range(KEYS):
        assert host.lower(key(number)) <= truth[key(number)] <= host.upper(key(number))


@settings(max_examples=200)
@given(hosts, st.integers(1, 10), st.integers(1, 8))
def test_bounded_fleet_bounds_true_counts(some: list[tuple[list[Request], MapLimits, int]], most: int, n: int) -> None:
    fleet, truth = FleetSummary(), Counter[Key]()
    for number, (traffic, bounds, kept) in enumerate(some):
        fleet.add_host("run", f"c{number}", {"1": host_of(traffic, bounds, kept, truth)})
        fleet.bound(most)
    assert len(fleet.keys) <= most + most // 2
    rows = {row.key: row for row in fleet.rank(1000)}
    for number in range(KEYS):
        row = rows.get(key(number))
        if row is None:
            assert truth[key(number)] <= fleet.absent
        else:
            assert row.known.requests <= truth[key(number)] <= row.requests_max
    for row in fleet.rank(n):
        assert not row.certified or sum(count > truth[row.key] for count in truth.values()) < n


def test_most_requested_keys_remain() -> None:
    summary = Summary(0, 0, {key(number): KeyCount(number) for number in range(100)})
    summary.bound(10)
    assert {name: count.requests for name, count in summary.keys.items()} == {key(n): n for n in range(90, 100)}
    assert summary.absent == 89


def test_bound_ignores_few_keys() -> None:
    fleet = FleetSummary()
    fleet.add_host("run", "a", {"1": Summary(0, 0, {key(number): KeyCount(1) for number in range(15)})})
    fleet.bound(10)
    assert (len(fleet.keys), fleet.absent, fleet.truncated) == (15, 0, False)


def test_memory_is_bounded() -> None:
    tracemalloc.start()
    fleet, most = FleetSummary(), 2000
    for host in range(40):
        counts = {Key.whole(b"h%d:%06d" % (host, number)): KeyCount(1 + number % 3) for number in range(2000)}
        fleet.add_host("run", f"h{host}", {"1": Summary(4000, 0, counts)})
        fleet.bound(most)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fleet.truncated
    assert fleet.total == 160_000
    # About 700 bytes per key: those of the fleet, and of one host.
    assert peak < (2 * most + 2000) * 1200


def test_concurrent_hosts_have_bounded_keys() -> None:
    for count in (1, 2, 50, 64, 1000, 10_000):
        assert min(count, 64) * keys_per_host(count, 64) <= 2 * FLEET_KEYS
    assert keys_per_host(1, 64) == 50_000
