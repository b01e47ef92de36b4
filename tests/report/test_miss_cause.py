"""A missed key has a cause only where the requests and memcached's stats leave one."""

from __future__ import annotations

import pytest

from fleettrace.errors import HostState
from fleettrace.report.miss_cause import MissCause, miss_cause
from fleettrace.summary.counts import KeyCount
from fleettrace.summary.host_stats import HostStats
from fleettrace.summary.items import NEVER, ItemFacts, ItemGap
from fleettrace.summary.run import InstanceResult
from tests.report.examples import EXACT

GONE = ItemFacts(gap=ItemGap.ABSENT)
STORED = {"get": 100, "set": 20}


def cause(
    ops: dict[str, int],
    item: ItemFacts,
    *,
    evictions: int | None = 0,
    expired: int | None = 0,
    misses: int | None = 30,
    unlisted: int | None = 0,
) -> MissCause | None:
    stats = HostStats(evictions=evictions, get_expired=expired)
    instance = InstanceResult(1, HostState.OK, "memcached", EXACT, stats=stats)
    requests = sum(ops.values())
    most = None if unlisted is None else requests + unlisted
    return miss_cause(KeyCount(requests, 0, ops, misses, None, []), most, item, [instance])


def item(ttl_s: int) -> ItemFacts:
    return ItemFacts(10, ttl_s, 0, 1, True)


def test_key_that_no_client_stores() -> None:
    assert cause({"get": 100}, GONE) is MissCause.NOT_STORED
    assert cause({"get": 100}, ItemFacts(gap=ItemGap.TLS)) is None
    assert cause({"get": 100, "arith": 3}, GONE) is None


def test_key_that_expires() -> None:
    assert cause(STORED, item(3), expired=9) is MissCause.EXPIRED
    assert cause(STORED, item(3), expired=9, evictions=1) is None
    assert cause(STORED, item(3), expired=0) is None


def test_key_that_is_evicted() -> None:
    assert cause(STORED, item(NEVER), evictions=9) is MissCause.EVICTED
    assert cause(STORED, item(NEVER), evictions=9, expired=1) is None
    assert cause(STORED, item(NEVER)) is None


@pytest.mark.parametrize("ttl_s", [3, NEVER])
def test_delete_leaves_several_causes(ttl_s: int) -> None:
    assert cause({**STORED, "delete": 1}, item(ttl_s), evictions=1 if ttl_s == NEVER else 0, expired=9) is None


def test_unknown_stats_leave_the_cause_unknown() -> None:
    assert cause(STORED, item(3), expired=None) is None
    assert cause(STORED, item(3), evictions=None, expired=9) is None
    assert cause(STORED, item(3), misses=None, expired=9) is None
    known = KeyCount(1, 0, STORED, 1, None, [])
    without = InstanceResult(1, HostState.OK, "memcached", EXACT)
    assert miss_cause(known, 1, item(3), [without]) is None
    assert miss_cause(KeyCount(1, 0, None, 1, None, []), 1, item(3), [without]) is None


def test_request_that_was_not_listed_may_be_a_store() -> None:
    assert cause({"get": 100}, GONE, unlisted=1) is None
    assert cause({"get": 100}, GONE, unlisted=None) is None
    assert cause(STORED, item(3), expired=9, unlisted=1) is None
