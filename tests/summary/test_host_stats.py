"""The stats of an instance: their documents are bounded, and two spans are added."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.errors import HostState
from fleettrace.summary.host_stats import (
    GAUGES,
    GROWTHS,
    EvictingClass,
    HostStats,
    document_of,
    host_stats_of,
    joined,
    unknown_stats,
)
from fleettrace.summary.host_totals import host_totals
from fleettrace.summary.run import InstanceResult, ProbeVerdict

counts = st.none() | st.integers(0, 2**63 - 1)
seconds = st.floats(0.001, 1e6)
classes = st.builds(EvictingClass, st.integers(0, 255), st.integers(0, 2**40), st.floats(0, 1), seconds, counts)
all_stats = st.builds(
    HostStats,
    seconds=st.none() | seconds,
    evicting_class=st.none() | classes,
    unknown=st.dictionaries(st.sampled_from(GROWTHS), st.text(max_size=50), max_size=3),
    **dict.fromkeys((*GROWTHS, *GAUGES), counts),
)


LIES: list[object] = [-1, 2**63, 1.5, True, "7", []]


@given(all_stats)
def test_document_has_everything(stats: HostStats) -> None:
    again = host_stats_of(json.loads(json.dumps(document_of(stats))))
    reasons = {name: why for name, why in again.unknown.items() if name != "hit_ratio"}
    assert replace(again, unknown=reasons) == stats


@pytest.mark.parametrize(
    "lie",
    [
        *({"evictions": value} for value in LIES),
        *({"seconds": value} for value in (-1, 0, 5e-324, 1e15, "1", float("nan"), float("inf"))),
        {"evicting_class": {"number": 256, "evictions": 1, "share": 1, "seconds": 1}},
        {"evicting_class": {"number": 1, "evictions": 1, "share": 1.1, "seconds": 1}},
        {"evicting_class": {"number": 1}},
        {"evicting_class": 7},
        {"unknown": 7},
    ],
    ids=str,
)
def test_invalid_document_is_refused(lie: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        host_stats_of(lie)


def test_reasons_are_bounded() -> None:
    stats = host_stats_of({"unknown": {f"n{number}": "x" * 10_000 for number in range(10_000)}})
    assert len(stats.unknown) <= 50
    assert max(map(len, stats.unknown.values())) <= 200


def test_two_spans_are_added() -> None:
    first = HostStats(10, get_hits=5, evictions=7, threads=4, unknown={"reclaimed": "a"})
    second = HostStats(20, get_hits=1, threads=8, unknown={"evictions": "b"})
    both = joined(first, second)
    assert (both.seconds, both.get_hits, both.threads) == (30, 6, 8)
    assert both.evictions is None
    assert both.unknown == {"reclaimed": "a", "evictions": "b"}


def instance(stats: HostStats | None, port: int = 11211) -> InstanceResult:
    made = InstanceResult(port, HostState.OK, "/usr/bin/memcached", ProbeVerdict("item", True), ports=(port,))
    made.stats = stats
    return made


def test_instances_are_added_over_their_own_spans() -> None:
    totals = host_totals(
        [
            instance(HostStats(10, get_hits=9, get_misses=1, evictions=100, curr_connections=3)),
            instance(HostStats(20, get_hits=0, get_misses=10, evictions=100, curr_connections=4)),
        ]
    )
    assert (totals.hit_ratio, totals.evictions, totals.connections) == (9 / 20, 15, 7)


@pytest.mark.parametrize("other", [None, unknown_stats("no answer")])
def test_unknown_instance_makes_the_host_unknown(other: HostStats | None) -> None:
    totals = host_totals([instance(HostStats(10, get_hits=9, get_misses=1, evictions=100)), instance(other)])
    assert (totals.hit_ratio, totals.evictions, totals.refused) == (None, None, None)


def test_either_counter_of_refused_connections_counts() -> None:
    assert host_totals([instance(HostStats(1, listen_disabled_num=3))]).refused == 3
    assert host_totals([instance(HostStats(1, listen_disabled_num=0, rejected_connections=4))]).refused == 4


def test_instance_that_evicts_fastest_is_named() -> None:
    slow = HostStats(10, evicting_class=EvictingClass(1, 100, 1.0, 10.0))
    fast = HostStats(10, evicting_class=EvictingClass(2, 90, 1.0, 3.0))
    found = host_totals([instance(slow), instance(fast, 11212)]).evicting
    assert found is not None
    assert (found.instance.ports, found.evicting_class.number) == ((11212,), 2)
