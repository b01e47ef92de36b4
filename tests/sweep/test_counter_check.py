"""Memcached's counters and reads refute a trace that saw much less, or more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.samples import Sample
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import ProbeVerdict
from fleettrace.sweep.counter_check import LEAST_READ, blindness, excess, unproven
from tests.sweep.test_cost import PID, SECOND, end_of

EXACT = ProbePlan(ProbeKind.ITEM, "do_item_get", ProbeVerdict("item", exact=True, symbol="do_item_get"), "arg0", "arg1")
APPROXIMATE = replace(EXACT, probe_kind=ProbeKind.SYSCALL, verdict=ProbeVerdict("syscall", exact=False))
SERVER = Instance(PID, 1, NodeBinary("1:2", 3, None), b"", None, (), None)


def sampled(rate: int | None, read: int | None = None) -> TraceEnd:
    """Return a window from second 5 to 15, with a sample every second; `rate` requests and `read` bytes a second."""
    samples: Sequence[Sample] = [
        Sample(
            PID,
            second * SECOND,
            1,
            None if rate is None else rate * second,
            read_bytes=None if read is None else read * second,
        )
        for second in range(20)
    ]
    return end_of(samples)


@pytest.mark.parametrize(
    ("plan", "rate", "traced", "blind"),
    [
        (EXACT, 0, 0, False),
        (EXACT, 1, 0, True),
        (EXACT, 1000, 0, True),
        (EXACT, 1000, 900, True),
        (EXACT, 1000, 1000, False),
        (EXACT, 1000, 10_000, False),
        (EXACT, 1, 11, False),
        (APPROXIMATE, 1000, 0, True),
        (APPROXIMATE, 1000, 99, True),
        (APPROXIMATE, 1000, 100, False),
        (replace(EXACT, ops=frozenset({"set"})), 1000, 0, False),
    ],
)
def test_blindness_compares_with_memcached_counters(plan: ProbePlan, rate: int, traced: int, blind: bool) -> None:
    assert (blindness(sampled(rate), SERVER, plan, traced) is not None) is blind


@pytest.mark.parametrize(("read", "traced", "blind"), [(None, 0, False), (100, 0, False), (LEAST_READ, 0, True)])
def test_blindness_compares_bytes_read_without_counters(read: int | None, traced: int, blind: bool) -> None:
    assert (blindness(sampled(None, read), SERVER, EXACT, traced) is not None) is blind
    assert blindness(sampled(None, read), SERVER, EXACT, traced=1) is None


def test_blindness_ignores_requests_outside_the_window() -> None:
    counts = [0, 0, 0, 0, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 9000, 9000, 9000, 9000]
    samples = [Sample(PID, second * SECOND + SECOND // 2, 1, count) for second, count in enumerate(counts)]
    assert blindness(end_of(samples), SERVER, EXACT, 0) is None


@pytest.mark.parametrize(("traced", "blind"), [(0, True), (899, True), (900, False)])
def test_blindness_counts_on_after_a_reset(traced: int, blind: bool) -> None:
    # The window has seconds 5 to 15: 5000, 6000, 7000, a reset, 0, 1000 ... 7000.
    samples = [Sample(PID, second * SECOND, 1, 1000 * (second % 8)) for second in range(20)]
    assert (blindness(end_of(samples), SERVER, EXACT, traced) is not None) is blind
    if blind:
        assert "memcached counted 9,000 requests" in str(blindness(end_of(samples), SERVER, EXACT, traced))


def resetting(read: int) -> TraceEnd:
    """Return a window in which the counters are reset before each sample, and memcached reads `read` bytes a second."""
    samples = [Sample(PID, second * SECOND, 1, 20 - second, read_bytes=read * second) for second in range(20)]
    return end_of(samples)


@pytest.mark.parametrize(
    ("plan", "kind", "traced", "blind"),
    [
        (EXACT, "get", 0, True),
        (EXACT, "get", 126, True),
        (EXACT, "get", 127, False),
        (EXACT, "set", 1, False),
        (EXACT, None, 1, False),
        (APPROXIMATE, "get", 1, False),
    ],
)
@pytest.mark.parametrize("end", [resetting(110_000), sampled(None, 110_000)], ids=["reset", "no counters"])
def test_blindness_compares_bytes_with_the_traced_lookups(
    end: TraceEnd, plan: ProbePlan, kind: str | None, traced: int, blind: bool
) -> None:
    # 1,100,000 bytes in 10 seconds: at 8 KiB each, and with 64 KiB to spare, those of 126.3 look-ups.
    end = replace(end, summaries={PID: counted(traced, kind)})
    assert (blindness(end, SERVER, plan, traced) is not None) is blind


def test_blindness_compares_bytes_where_resets_hide_all_requests() -> None:
    samples = [Sample(PID, n * SECOND, 1, 9 if n == 4 else 0, read_bytes=LEAST_READ * n) for n in range(20)]
    assert blindness(end_of(samples), SERVER, EXACT, 0) is not None


def test_blindness_trusts_counters_that_were_not_reset() -> None:
    assert blindness(sampled(0, 10 * LEAST_READ), SERVER, EXACT, 0) is None


def test_blindness_needs_more_than_a_reset() -> None:
    samples = [Sample(PID, second * SECOND, 1, 7000 if second < 9 else 0) for second in range(20)]
    assert blindness(end_of(samples), SERVER, EXACT, 0) is None


def test_blindness_ignores_the_counters_of_a_proxy() -> None:
    proxy = replace(SERVER, proxy=True)
    assert blindness(sampled(0, LEAST_READ), proxy, EXACT, 0) is not None
    assert blindness(sampled(1000), proxy, EXACT, 0) is None


def at(*seconds: float, requests: int | None = 5, read: int | None = None) -> TraceEnd:
    return end_of([Sample(PID, round(second * SECOND), 1, requests, read_bytes=read) for second in seconds])


@pytest.mark.parametrize(
    ("end", "proven"),
    [
        (at(), False),
        (at(10), False),
        (at(1, 2, 3, 4, 10), False),
        (at(10, 16, 17), False),
        (at(6, 14), True),
        (at(4, 16), True),
        (at(6, 14, requests=None), False),
        (at(6, 14, requests=None, read=7), True),
    ],
)
def test_zero_needs_samples_in_or_around_the_window(end: TraceEnd, proven: bool) -> None:
    assert (unproven(end, SERVER, EXACT, 0) is None) is proven
    assert unproven(end, SERVER, EXACT, 1) is None
    assert unproven(end, SERVER, replace(EXACT, ops=frozenset({"set"})), 0) is None


def test_counters_of_a_proxy_prove_no_zero() -> None:
    proxy = replace(SERVER, proxy=True)
    assert unproven(at(6, 14), proxy, EXACT, 0) is not None
    assert unproven(at(6, 14, read=7), proxy, EXACT, 0) is None


PER_SECOND, READ = 1000, 12_000
"""Requests and bytes a second of `get realkey`; the window has 10 seconds."""


def counted(requests: int, kind: str | None = "get", name: bytes = b"realkey") -> Summary:
    summary = Summary()
    summary.total = requests
    summary.keys = {Key.whole(name): KeyCount(requests, ops=None if kind is None else {kind: requests})}
    return summary


def code(end: TraceEnd, plan: ProbePlan, summary: Summary) -> str | None:
    found = excess(end, SERVER, plan, summary)
    return None if found is None else found.failure.code


@pytest.mark.parametrize(
    ("kind", "requests", "expected"),
    [
        ("get", 10_000, None),
        ("get", 10_199, None),
        ("get", 10_300, "counted-more"),
        ("touch", 10_300, "counted-more"),
        ("arith", 30_000, None),
        ("set", 30_000, None),
        (None, 30_000, None),
        ("get", 10_000_000, "implausible-output"),
        ("arith", 10_000_000, "implausible-output"),
        (None, 10_000_000, "implausible-output"),
    ],
)
def test_excess_compares_lookups_and_bytes(kind: str | None, requests: int, expected: str | None) -> None:
    assert code(sampled(PER_SECOND, READ), EXACT, counted(requests, kind)) == expected


@pytest.mark.parametrize(("requests", "expected"), [(10_300, None), (20_000, None), (10_000_000, "implausible-output")])
def test_excess_compares_lookups_of_item_probes_only(requests: int, expected: str | None) -> None:
    assert code(sampled(PER_SECOND, READ), APPROXIMATE, counted(requests)) == expected
    assert code(sampled(PER_SECOND, READ), replace(EXACT, probe_kind=ProbeKind.COMMAND), counted(requests)) == expected


def test_excess_takes_two_bytes_per_unlisted_request() -> None:
    summary = Summary()
    summary.total = 10_000_000
    assert code(sampled(PER_SECOND, READ), EXACT, summary) == "implausible-output"
    summary.total = 100_000
    assert code(sampled(PER_SECOND, READ), EXACT, summary) is None


def test_excess_needs_the_bytes_read_to_be_absurd() -> None:
    assert code(sampled(PER_SECOND), EXACT, counted(10_000_000, "arith")) is None
    assert code(sampled(PER_SECOND), EXACT, counted(10_000_000)) == "counted-more"
    assert code(sampled(None, READ), EXACT, counted(10_000_000)) is None


def test_excess_includes_samples_around_the_window() -> None:
    samples = [Sample(PID, 4 * SECOND, 1, 0), Sample(PID, 6 * SECOND, 1, 5000), Sample(PID, 16 * SECOND, 1, 9000)]
    assert code(end_of(samples), EXACT, counted(9000)) is None
    assert code(end_of(samples), EXACT, counted(9500)) == "counted-more"
    assert code(end_of(samples[1:]), EXACT, counted(9500)) is None


def test_excess_ignores_a_reset_counter() -> None:
    samples = [Sample(PID, second * SECOND, 1, 1000 * (second % 8)) for second in range(20)]
    assert code(end_of(samples), EXACT, counted(50_000)) is None


def test_excess_ignores_ended_processes_and_proxies() -> None:
    end = sampled(PER_SECOND, READ)
    assert excess(end, replace(SERVER, proxy=True), EXACT, counted(10_000_000)) is None
    end.alive = set()
    assert excess(end, SERVER, EXACT, counted(10_000_000)) is None


@pytest.mark.parametrize("requests", range(0, 40_000, 1000))
def test_no_trace_is_both_blind_and_excessive(requests: int) -> None:
    end = sampled(PER_SECOND, READ)
    assert blindness(end, SERVER, EXACT, requests) is None or code(end, EXACT, counted(requests)) is None
