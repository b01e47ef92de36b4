"""Each failing host has its own state and code. `test_exact_counts.py` checks the numbers of the others."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import BigSweep
from tests.e2e.fleet import FAILING, FLEET, IDLE, TRACED

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("name", FAILING)
def test_failed_host_has_its_state_code_and_cure(big_sweep: BigSweep, name: str) -> None:
    state, code, value = FAILING[name]
    host = big_sweep.done.host(name)
    assert (host["state"], host["error"]["code"]) == (state, code)
    assert value in host["error"]["message"]
    assert "\n" not in host["error"]["message"]
    assert (host["requests"], host["rate"], host["share"]) == (None, None, None)
    assert re.search(rf"^fleettrace: {name}: {state}: ", big_sweep.done.err, re.MULTILINE)


def test_host_without_memcached_is_no_failure(big_sweep: BigSweep) -> None:
    host = big_sweep.done.host("empty")
    assert (host["state"], host["error"], host["instances"]) == ("no-instances", None, [])


@pytest.mark.parametrize("name", ["victim", "shot"])
def test_memcached_without_traffic_has_zero_requests(big_sweep: BigSweep, name: str) -> None:
    host = big_sweep.done.host(name)
    assert (host["state"], host["requests"], host["top"]) == ("ok", 0, [])


def test_report_lists_hosts_in_inventory_order(big_sweep: BigSweep) -> None:
    assert [host["host"] for host in big_sweep.done.report["hosts"]] == [spec.name for spec in FLEET]


def test_exit_code_is_4_below_min_ok(big_sweep: BigSweep) -> None:
    fine = len(TRACED) + len(IDLE)
    assert fine < len(FLEET) / 2
    assert big_sweep.done.status == 4


def test_failed_hosts_leave_the_bounds_open(big_sweep: BigSweep) -> None:
    report = big_sweep.done.report
    assert set(report["totals"]["hosts_missing"]) == set(FAILING)
    assert report["totals"]["certified"] == 0
    assert not any(row["certified"] for row in report["keys"])
