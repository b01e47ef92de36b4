"""Every true count is inside its bounds, although a slice's map drops entries and prints only some."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from fleettrace.summary.counts import OPS, Summary
from fleettrace.summary.slices import MapLimits, SliceCounts, SliceSpread, Tally, spread_over, unprinted_bounds
from tests.summary.kernel import Request, itself, key, run_slice, summarise

INSTANCES = 2
TAGS = 3

keys = st.one_of(st.integers(0, 3), st.integers(0, 30))
requests = st.lists(st.tuples(st.integers(0, INSTANCES - 1), keys, st.integers(0, TAGS - 1)), max_size=120)
limits = st.builds(MapLimits, capacity=st.integers(1, 40), printed=st.integers(1, 20), tags=st.just(TAGS))


def summaries(traffic: list[Request], bounds: MapLimits, everything: bool, bucket: int = 0) -> dict[int, Summary]:
    kernel = run_slice(traffic, bounds, INSTANCES, everything=everything)
    return {instance: summarise(part, bounds, bucket, OPS.__getitem__) for instance, part in kernel.parts.items()}


@given(requests, limits, st.booleans())
@example([(0, 1, 0)] * 3 + [(0, 2, 0), (1, 3, 0)], MapLimits(1, 1, TAGS), False)
def test_bounds_contain_true_counts(traffic: list[Request], bounds: MapLimits, everything: bool) -> None:
    truth = run_slice(traffic, bounds, INSTANCES, everything=everything).truth
    for instance, summary in summaries(traffic, bounds, everything).items():
        assert summary.total == truth[instance].total()
        for number in range(31):
            true = truth[instance][key(number)]
            assert summary.lower(key(number)) <= true <= summary.upper(key(number))


@given(
    st.lists(requests, max_size=4),
    limits,
    st.sampled_from([OPS.__getitem__, lambda tag: OPS[tag] if tag else None, None]),
)
def test_adding_slices_equals_adding_their_summaries(
    slices: list[list[Request]], bounds: MapLimits, op_of: Callable[[int], str | None] | None
) -> None:
    merged = Summary()
    direct = Tally(Summary(), bounds, itself, op_of)
    for number, traffic in enumerate(slices):
        part = run_slice(traffic, bounds, INSTANCES).parts[0]
        spread = SliceSpread(number // 2 + 1, (3, 1)[: number % 2 + 1])
        own = Summary()
        direct.add(part, spread)
        Tally(own, bounds, itself, op_of).add(part, spread)
        merged.add(own)
    assert direct.summary == merged


@given(st.integers(0, 10**12), st.lists(st.integers(1, 10**9), min_size=1, max_size=6))
def test_spread_parts_add_up(count: int, weights: list[int]) -> None:
    parts = SliceSpread(0, tuple(weights)).parts(count)
    assert sum(parts) == count
    assert all(abs(part - count * weight / sum(weights)) <= 1 for part, weight in zip(parts, weights, strict=True))


@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=20), st.integers(1, 50))
def test_steady_traffic_has_steady_timeline(lengths_ms: list[int], rate: int) -> None:
    bounds, ends = MapLimits(10, 10, TAGS), [0]
    for length in lengths_ms:
        ends.append(ends[-1] + length)
    buckets = -(-ends[-1] // 1000)
    summary = Summary()
    tally = Tally(summary, bounds, itself, None)
    for start, end in pairwise(ends):
        part = SliceCounts(0, start, end, rate * (end - start), {(key(1), 0): rate * (end - start)})
        tally.add(part, spread_over(start, end, 1000, buckets))
    assert sum(summary.timeline) == rate * ends[-1]
    assert summary.keys[key(1)].timeline == summary.timeline
    # A slice may omit two slivers of 1/50, and so may its neighbors.
    assert all(abs(count - 1000 * rate) <= 1000 * rate // 10 for count in summary.timeline[: ends[-1] // 1000 - 1])


def test_time_past_end_is_in_last_bucket() -> None:
    assert spread_over(2_500, 3_025, 1000, 3) == SliceSpread(2)
    assert spread_over(3_000, 3_025, 1000, 3) == SliceSpread(2)
    assert spread_over(700, 2_300, 1000, 3) == SliceSpread(0, (300, 1000, 300))
    assert spread_over(1_000, 2_005, 1000, 3) == SliceSpread(1)


@given(requests, st.booleans())
def test_complete_map_is_exact(traffic: list[Request], everything: bool) -> None:
    bounds = MapLimits(capacity=1000, printed=1000, tags=TAGS)
    truth = run_slice(traffic, bounds, INSTANCES).truth
    for instance, summary in summaries(traffic, bounds, everything).items():
        assert summary.absent == 0
        assert {name: known.requests for name, known in summary.keys.items()} == dict(truth[instance])


@given(requests, limits, st.booleans())
def test_bounds_do_not_exceed_remainder(traffic: list[Request], bounds: MapLimits, everything: bool) -> None:
    for summary in summaries(traffic, bounds, everything).values():
        listed = sum(known.requests for known in summary.keys.values())
        assert 0 <= summary.absent <= summary.total - listed
        assert all(0 <= known.covered <= summary.absent for known in summary.keys.values())


@given(requests, st.integers(1, 20))
def test_unprinted_entry_is_at_most_smallest(traffic: list[Request], printed: int) -> None:
    bounds = MapLimits(capacity=1000, printed=printed, tags=TAGS)
    for part in run_slice(traffic, bounds, INSTANCES).parts.values():
        entry, dropped = unprinted_bounds(part, bounds)
        assert entry <= part.smallest
        assert dropped == 0


@given(st.integers(1, 20), st.integers(0, 30))
def test_full_map_drop_bound(printed: int, late: int) -> None:
    bounds = MapLimits(capacity=40, printed=printed, tags=1)
    early = [(0, number, 0) for number in range(40) for _ in range(2)]
    summary = summaries([*early, *[(0, 99, 0)] * late], bounds, False)[0]
    assert summary.upper(key(99)) <= 2 + 40 - printed + late


@given(requests, limits, st.integers(0, 5))
def test_slice_is_in_its_bucket(traffic: list[Request], bounds: MapLimits, bucket: int) -> None:
    for summary in summaries(traffic, bounds, False, bucket).values():
        assert summary.timeline == [0] * bucket + [summary.total]
        for known in summary.keys.values():
            assert known.timeline == [0] * bucket + [known.requests]
            assert known.ops is not None
            assert sum(known.ops.values()) == known.requests


def test_unknown_tag_makes_ops_unknown() -> None:
    bounds = MapLimits(10, 10, TAGS)
    part = run_slice([(0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 0)], bounds, 1).parts[0]
    summary = summarise(part, bounds, 0, lambda tag: "get" if tag == 0 else None)
    assert summary.keys[key(1)].ops is None
    assert summary.keys[key(2)].ops == {"get": 1}
