"""The affordable window, the size of the maps, and the measured cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.samples import Sample
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.run import Coverage, ProbeVerdict, TracingCost
from fleettrace.sweep.cost import (
    LEAST_ENTRIES,
    MAP_MEMORY,
    MIN_WINDOW_S,
    SHORTEST_SLICE_MS,
    Prediction,
    affordable_window,
    costs_of,
    coverage_of,
    map_bytes,
    may_cost,
    measured_verdict,
    most_us,
    sized,
)

SECOND = 1_000_000_000
PID = 7
LAYOUTS = [key_layout((0, 17, 0)), key_layout((0, 23, 0))]
RATES = st.floats(0, 2_000_000)
CPUS = st.integers(1, 1024)


def end_of(
    samples: Sequence[Sample],
    *,
    complete: bool = True,
    alive: bool = True,
    window_s: float = 10.0,
    start_s: float = 5.0,
) -> TraceEnd:
    return TraceEnd(
        complete=complete,
        broken=False,
        window_s=window_s,
        summaries={},
        alive={PID} if alive else set(),
        implausible=set(),
        start_ns=round(start_s * SECOND),
        samples={PID: list(samples)},
        tracer_cpu_s=0.5,
    )


def busy_samples(before_us: int, during_us: int, rate: int = 10_000) -> list[Sample]:
    """Return a sample a second for 20 s; from the fifth second on each request costs `during_us`."""
    cpu = [min(second, 5) * before_us + max(0, second - 5) * during_us for second in range(20)]
    return [Sample(PID, second * SECOND, 1 + cpu[second] * rate * 1000, second * rate) for second in range(20)]


def test_affordable_probe_keeps_the_window() -> None:
    assert affordable_window(10, 0.5, []) == 10
    assert affordable_window(10, 0.5, [Prediction(100_000, 2.8)]) == 10
    assert affordable_window(0.5, 0.5, [Prediction(1_000_000, 20)]) == 0.5


def test_most_expensive_instance_shortens_the_window() -> None:
    assert affordable_window(10, 0.5, [Prediction(50_000, 20), Prediction(10, 20)]) == pytest.approx(5)
    assert affordable_window(10, 2.0, [Prediction(50_000, 20)]) == 10


def test_time_spent_measuring_is_deducted() -> None:
    assert affordable_window(10, 0.5, [Prediction(100_000, 20, 1.0)]) == pytest.approx(1.5)
    assert affordable_window(10, 0.5, [Prediction(1_000_000, 20, 1.0)]) == MIN_WINDOW_S
    assert affordable_window(10, 0.5, [Prediction(1_000, 20, 1.0)]) == 10


def test_may_cost_assumes_the_worst_probe() -> None:
    assert may_cost(None, 0.5)
    assert may_cost(100_000, 0.5)
    assert not may_cost(1_000, 0.5)


def test_measured_cost_needs_samples_before_the_trace() -> None:
    assert most_us(TracingCost(5.0, 8.0)) == 3
    assert most_us(TracingCost(None, 8.0)) == 8
    assert most_us(TracingCost(5.0, None)) is None
    unknown, known = ProbeVerdict("item", True), ProbeVerdict("item", True, cost=2.8)
    assert measured_verdict(unknown, TracingCost(5.0, 8.04)).cost == 3.0
    assert measured_verdict(unknown, TracingCost(8.0, 5.0)).cost == 0
    assert measured_verdict(known, TracingCost(5.0, 8.0)) == known
    assert measured_verdict(unknown, TracingCost(None, 8.0)) == measured_verdict(unknown, None) == unknown


@given(st.floats(1, 3600), st.floats(0.001, 64), st.lists(st.builds(Prediction, RATES, st.floats(0, 50)), max_size=4))
def test_window_is_between_a_second_and_the_duration(
    duration: float, max_cost: float, predictions: list[Prediction]
) -> None:
    window = affordable_window(duration, max_cost, predictions)
    assert MIN_WINDOW_S <= window <= duration
    if window > MIN_WINDOW_S:
        assert all(one.cores * window <= max_cost * duration * 1.000001 for one in predictions)


@given(st.one_of(st.none(), RATES), CPUS, st.sampled_from(LAYOUTS), st.sampled_from([1000, 500]))
def test_maps_stay_within_their_memory(rate: float | None, cpus: int, layout: object, slice_ms: int) -> None:
    assert layout in LAYOUTS
    layout = LAYOUTS[LAYOUTS.index(layout)]
    bounds = sized(TraceSettings(10, slice_ms=slice_ms), rate, layout, cpus)
    assert bounds.entries >= 1
    assert bounds.entries * map_bytes(layout, cpus) <= MAP_MEMORY
    assert SHORTEST_SLICE_MS <= bounds.slice_ms <= slice_ms


@pytest.mark.parametrize("layout", LAYOUTS)
@given(rate=st.floats(0, 60_000))
def test_slice_of_distinct_keys_fits_the_maps(layout: object, rate: float) -> None:
    layout = LAYOUTS[LAYOUTS.index(layout)]  # type: ignore[arg-type]
    bounds = sized(TraceSettings(10), rate, layout, 4)
    assert bounds.entries >= min(LEAST_ENTRIES, rate * bounds.slice_ms / 1000)


def test_many_cpus_mean_fewer_entries_and_shorter_slices() -> None:
    small, large = (sized(TraceSettings(10), 15_000, LAYOUTS[0], cpus) for cpus in (2, 256))
    assert small.entries > large.entries
    assert small.slice_ms == 1000 > large.slice_ms


def test_coverage_compares_with_memcached_counters() -> None:
    assert coverage_of(end_of(busy_samples(5, 8)), PID, 100_000) == Coverage(100_000, 100_000)
    lossy = coverage_of(end_of(busy_samples(5, 8)), PID, 90_000)
    assert lossy is not None
    assert lossy.share == pytest.approx(0.9, abs=0.001)


def test_coverage_is_unknown_without_samples_of_the_window() -> None:
    assert coverage_of(end_of(busy_samples(5, 8), alive=False), PID, 1) is None
    assert coverage_of(end_of([]), PID, 1) is None
    assert coverage_of(end_of(busy_samples(5, 8), window_s=100), PID, 1) is None


def test_coverage_allows_for_the_stop_of_a_trace() -> None:
    samples = busy_samples(5, 8)
    assert coverage_of(end_of(samples, complete=False), PID, 101_000) == Coverage(101_000, 101_000)


def test_costs_are_per_request_before_and_during_trace() -> None:
    end = end_of(busy_samples(5, 8))
    cost = costs_of(end, {PID: 100_000}, {PID: Coverage(100_000, 100_000)})[PID]
    assert cost.before_us == pytest.approx(5)
    assert cost.during_us == pytest.approx(8)
    assert cost.tracer_cpu_s == 0.5


def test_too_little_traffic_has_no_cost() -> None:
    end = end_of(busy_samples(5, 8, rate=10))
    assert costs_of(end, {PID: 100}, {}) == {PID: TracingCost(None, None, 0.5)}


def test_tracer_cpu_is_shared_among_the_instances() -> None:
    costs = costs_of(end_of([]), {PID: 300, 8: 100}, {})
    assert [cost.tracer_cpu_s for cost in costs.values()] == [0.375, 0.125]
    assert sum(cost.tracer_cpu_s or 0 for cost in costs_of(end_of([]), {PID: 0, 8: 0}, {}).values()) == 0.5
