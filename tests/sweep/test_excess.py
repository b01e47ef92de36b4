"""More look-ups than memcached counted, and more bytes of keys than it read, refute a trace; other requests do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.node.samples import Sample
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.sweep.blindness import blindness
from fleettrace.sweep.excess import excess
from tests.sweep.test_blindness import APPROXIMATE, EXACT, SERVER, sampled
from tests.sweep.test_cost import PID, SECOND, end_of

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
def test_excess_of_what_memcached_counts_for_sure(kind: str | None, requests: int, expected: str | None) -> None:
    assert code(sampled(PER_SECOND, READ), EXACT, counted(requests, kind)) == expected


@pytest.mark.parametrize(("requests", "expected"), [(10_300, None), (20_000, None), (10_000_000, "implausible-output")])
def test_only_the_item_probe_shows_look_ups_alone(requests: int, expected: str | None) -> None:
    assert code(sampled(PER_SECOND, READ), APPROXIMATE, counted(requests)) == expected
    assert code(sampled(PER_SECOND, READ), replace(EXACT, probe_kind=ProbeKind.COMMAND), counted(requests)) == expected


def test_requests_of_unlisted_keys_hold_two_bytes_at_least() -> None:
    summary = Summary()
    summary.total = 10_000_000
    assert code(sampled(PER_SECOND, READ), EXACT, summary) == "implausible-output"
    summary.total = 100_000
    assert code(sampled(PER_SECOND, READ), EXACT, summary) is None


def test_an_unknown_number_of_bytes_is_no_proof_of_a_lie() -> None:
    assert code(sampled(PER_SECOND), EXACT, counted(10_000_000, "arith")) is None
    assert code(sampled(PER_SECOND), EXACT, counted(10_000_000)) == "counted-more"
    assert code(sampled(None, READ), EXACT, counted(10_000_000)) is None


def test_what_was_counted_around_the_edges_may_be_the_windows() -> None:
    samples = [Sample(PID, 4 * SECOND, 1, 0), Sample(PID, 6 * SECOND, 1, 5000), Sample(PID, 16 * SECOND, 1, 9000)]
    assert code(end_of(samples), EXACT, counted(9000)) is None
    assert code(end_of(samples), EXACT, counted(9500)) == "counted-more"
    assert code(end_of(samples[1:]), EXACT, counted(9500)) is None


def test_a_counter_that_was_reset_proves_no_excess() -> None:
    samples = [Sample(PID, second * SECOND, 1, 1000 * (second % 8)) for second in range(20)]
    assert code(end_of(samples), EXACT, counted(50_000)) is None


def test_an_ended_process_and_a_proxy_are_not_compared() -> None:
    end = sampled(PER_SECOND, READ)
    assert excess(end, replace(SERVER, proxy=True), EXACT, counted(10_000_000)) is None
    end.alive = set()
    assert excess(end, SERVER, EXACT, counted(10_000_000)) is None


@pytest.mark.parametrize("requests", range(0, 40_000, 1000))
def test_no_trace_is_both_blind_and_in_excess(requests: int) -> None:
    end = sampled(PER_SECOND, READ)
    assert blindness(end, SERVER, EXACT, requests) is None or code(end, EXACT, counted(requests)) is None
