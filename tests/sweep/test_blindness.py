"""A count of zero or nearly zero is refuted by what memcached counted, or read, in the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.samples import Sample
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan
from fleettrace.summary.run import ProbeVerdict
from fleettrace.sweep.blindness import LEAST_READ, blindness
from tests.sweep.test_cost import PID, SECOND, end_of

EXACT = ProbePlan(ProbeKind.ITEM, "do_item_get", ProbeVerdict("item", exact=True, symbol="do_item_get"), "arg0", "arg1")
APPROXIMATE = replace(EXACT, probe_kind=ProbeKind.SYSCALL, verdict=ProbeVerdict("syscall", exact=False))
SERVER = Instance(PID, 1, NodeBinary("1:2", 3, None), b"", None, (), None)


def sampled(rate: int | None, read: int | None = None) -> TraceEnd:
    """A window from second 5 to 15, with a sample every second; `rate` requests and `read` bytes a second."""
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
def test_traffic_in_stats_that_the_trace_did_not_see_is_blindness(
    plan: ProbePlan, rate: int, traced: int, blind: bool
) -> None:
    assert (blindness(sampled(rate), SERVER, plan, traced) is not None) is blind


@pytest.mark.parametrize(("read", "traced", "blind"), [(None, 0, False), (100, 0, False), (LEAST_READ, 0, True)])
def test_what_it_read_counts_where_it_could_not_be_asked(read: int | None, traced: int, blind: bool) -> None:
    assert (blindness(sampled(None, read), SERVER, EXACT, traced) is not None) is blind
    assert blindness(sampled(None, read), SERVER, EXACT, traced=1) is None


def test_what_was_counted_beside_the_window_is_no_evidence() -> None:
    counts = [0, 0, 0, 0, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 9000, 9000, 9000, 9000]
    samples = [Sample(PID, second * SECOND + SECOND // 2, 1, count) for second, count in enumerate(counts)]
    assert blindness(end_of(samples), SERVER, EXACT, 0) is None


def test_a_counter_that_was_reset_is_no_evidence() -> None:
    samples = [Sample(PID, second * SECOND, 1, 1000 * (second % 8)) for second in range(20)]
    assert blindness(end_of(samples), SERVER, EXACT, 0) is None


def test_a_proxys_own_counters_are_no_evidence() -> None:
    proxy = replace(SERVER, proxy=True)
    assert blindness(sampled(0, LEAST_READ), proxy, EXACT, 0) is not None
    assert blindness(sampled(1000), proxy, EXACT, 0) is None
