"""Looks come through whatever stands around them, and say no more of a span of time than they know."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.plausible import MAX_INSTANCES
from fleettrace.node.samples import (
    Sample,
    SampleReader,
    Span,
    by_process,
    counted,
    cpu_between,
    in_order,
    surely_counted,
)

SECOND = 1_000_000_000
SAMPLE = b"\0%d 100 102 5000 %d\0"
WORDS = st.lists(st.sampled_from([b"ERROR: no", b"\n", b"4 5 6", b"\0", b"\xff"]), max_size=4).map(b"".join)


def samples_at(*counts: int | None, every_s: float = 1.0) -> list[Sample]:
    return [Sample(7, round(index * every_s * SECOND), index * 1000, count) for index, count in enumerate(counts)]


@given(st.lists(st.integers(min_value=1, max_value=9)), st.lists(WORDS, max_size=9), st.integers(1, 40))
def test_reader_separates_samples_from_text(pids: list[int], words: list[bytes], size: int) -> None:
    words = [word.replace(b"\0", b"") for word in words]
    words += [b""] * (len(pids) + 1 - len(words))
    stream = words[0] + b"".join(SAMPLE % (pid, pid) + word for pid, word in zip(pids, words[1:], strict=False))
    reader = SampleReader()
    rest = b"".join(reader.feed(stream[start : start + size]) for start in range(0, len(stream), size))
    assert [sample.pid for sample in reader.samples] == pids
    assert rest == b"".join(words[: len(pids) + 1])


@given(st.binary(max_size=400), st.integers(1, 50))
def test_reader_ignores_noise(noise: bytes, size: int) -> None:
    reader = SampleReader()
    for start in range(0, len(noise), size):
        reader.feed(noise[start : start + size])
    reader.feed(b"x" * 200 + SAMPLE % (3, 4))
    assert [sample.pid for sample in reader.samples][-1:] == [3]


@pytest.mark.parametrize("processes", [1, 40, 300])
def test_newest_and_first_samples_are_stored(processes: int) -> None:
    reader, rounds = SampleReader(), 2000
    for second in range(rounds):
        for pid in range(1, processes + 1):
            reader.feed(b"\0%d %d %d 5000 %d\0" % (pid, second * 100, second * 100, second))
    assert len(reader.samples) <= max(8192, 32 * processes)
    assert reader.samples == sorted(reader.samples, key=lambda sample: (sample.ns, sample.pid))
    for samples in by_process(reader.samples).values():
        counts = [sample.requests for sample in samples]
        assert counts[0] == 0
        assert counts[-8:] == list(range(rounds - 8, rounds))
        # Between these, no part of the time is without samples.
        assert max(later - earlier for earlier, later in pairwise(counts) if later and earlier) < rounds // 3


def test_thinning_takes_linear_time() -> None:
    def seconds(samples: int) -> float:
        reader, began = SampleReader(), time.process_time()
        reader.feed(b"".join(SAMPLE % (index % 5000, index) for index in range(samples)))
        assert len(reader.samples) <= 32 * MAX_INSTANCES
        return time.process_time() - began

    assert seconds(400_000) < 4 * seconds(200_000) + 0.1


def test_sample_time_is_the_middle() -> None:
    reader = SampleReader()
    reader.feed(b"\x0012 100 104 77 5\0")
    assert reader.samples == [Sample(12, 1_025_000_000, 77, 5, within_ns=25_000_000)]


def test_missing_values_are_none() -> None:
    reader = SampleReader()
    reader.feed(b"\x0012 100 104 0 -\0" + b"\x0012 100 900 7 5\0")
    assert [(sample.cpu_ns, sample.requests) for sample in reader.samples] == [(None, None), (7, None)]


def test_in_order_shifts_the_clock() -> None:
    samples = [Sample(1, 300, 1, 1), Sample(2, 5, 1, 1), Sample(1, 200, 1, 1)]
    assert [sample.ns for sample in in_order(samples, 1, 150)] == [50, 150]


@given(st.integers(0, 100_000), st.floats(0.5, 8.0), st.floats(0.1, 8.0))
def test_steady_traffic_is_counted_to_the_request(rate: int, start: float, length: float) -> None:
    samples = samples_at(*(rate * second for second in range(20)))
    span = counted(samples, round(start * SECOND), round((start + length) * SECOND))
    assert span is not None
    assert span.least - 4 <= rate * length <= span.greatest + 4
    assert span.greatest - span.least <= 4


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=30), st.data())
def test_count_lies_between_enclosing_samples(steps: list[int], data: st.DataObject) -> None:
    counts = [sum(steps[:index]) for index in range(len(steps) + 1)]
    first = data.draw(st.integers(0, len(steps) - 1))
    last = data.draw(st.integers(first, len(steps) - 1))
    span = counted(samples_at(*counts), first * SECOND + 1, (last + 1) * SECOND - 1)
    assert span is not None
    assert max(0, counts[last] - counts[first + 1]) <= span.least <= span.greatest <= counts[last + 1] - counts[first]


def test_traffic_inside_the_window_is_exact() -> None:
    span = counted(samples_at(5, 5, 5, 905, 930, 930, 930), SECOND, 5 * SECOND)
    assert span == Span(925, 925)


@given(st.integers(0, 10_000), st.lists(st.floats(0.26, 3.0), min_size=9, max_size=9), st.floats(0.01, 0.99))
def test_burst_at_the_edge_widens_the_span(burst: int, apart: list[float], edge: float) -> None:
    moments = [0.0]
    for seconds in apart:
        moments.append(moments[-1] + seconds)
    samples = [
        Sample(7, round(moment * SECOND), 0, 5 if index < 4 else 5 + burst) for index, moment in enumerate(moments)
    ]
    start = round((moments[3] + edge * (moments[4] - moments[3])) * SECOND)
    assert counted(samples, start, round(moments[8] * SECOND)) == Span(0, burst)


def test_slow_sample_widens_the_span() -> None:
    samples = [sample._replace(within_ns=100_000_000) for sample in samples_at(*range(0, 11_000, 1000))]
    span = counted(samples, 3 * SECOND + SECOND // 2, 7 * SECOND + SECOND // 2)
    assert span is not None
    assert (span.least, span.greatest) == (3799, 4201)


def test_window_without_enclosing_samples_is_unknown() -> None:
    samples = samples_at(1, 2, 3)
    assert counted(samples, SECOND, 5 * SECOND) is None
    assert counted(samples, -1, SECOND) is None
    assert counted([], 0, 1) is None
    assert cpu_between(samples, SECOND, 5 * SECOND) is None


def test_counter_that_went_back_is_unknown() -> None:
    assert counted(samples_at(100, 200, 10, 20, 30), SECOND, 4 * SECOND) is None


@pytest.mark.parametrize(
    ("counts", "least"),
    [
        ([100, 200, 400], 300),
        ([100, 200, 10, 20, 30], 130),
        # Taken while memcached resets its threads: half of it is from before.
        ([1000, 1000, 500, 0, 0], 0),
        ([1000, 1000, 500, 3, 5], 5),
        ([1000, 1000, 500, 600], 600),
        ([1000, 500], 0),
        ([5, 900, 7, 900, 7, 900], 2695),
        ([5], None),
    ],
)
def test_surely_counted_is_a_lower_bound_across_resets(counts: list[int], least: int | None) -> None:
    assert surely_counted(samples_at(*counts), 0, 9 * SECOND) == least


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.integers(0, 50), st.booleans()), max_size=12))
def test_surely_counted_never_exceeds_what_was_counted(steps: list[tuple[int, bool, int, bool]]) -> None:
    """Two threads count; between two samples there may be requests, a reset of both, and a sample amid that reset."""
    first, second, served, counts = 0, 0, 0, [0]
    for requests, resets, more, amid in steps:
        first, served = first + requests, served + requests
        if resets:
            first = 0
            if amid:
                counts.append(first + second)
            second = 0
        second, served = second + more, served + more
        counts.append(first + second)
    assert (surely_counted(samples_at(*counts), 0, 99 * SECOND) or 0) <= served


def test_samples_without_answer_are_skipped() -> None:
    assert counted(samples_at(0, 10, None, 30, 40, 50), SECOND, 4 * SECOND) == Span(30, 30)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(-10, 60))
def test_nearest_number_lies_in_the_span(one: int, other: int, number: int) -> None:
    span = Span(min(one, other), max(one, other))
    assert span.least <= span.nearest(number) <= span.greatest
    assert span.nearest(number) == number or number not in range(span.least, span.greatest + 1)


def test_cpu_time_is_interpolated() -> None:
    samples = [Sample(1, second * SECOND, second * 500 + 1, None) for second in range(5)]
    assert cpu_between(samples, SECOND // 2, 3 * SECOND) == 1250
    assert all(later.cpu_ns > earlier.cpu_ns for earlier, later in pairwise(samples) if later.cpu_ns and earlier.cpu_ns)
