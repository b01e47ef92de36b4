"""`fleettrace.report.build`: shares, rates, bounds and warnings."""

from __future__ import annotations

import dataclasses
import re

import pytest

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.model import KeyRow, Spread
from fleettrace.summary.key import Key
from fleettrace.summary.run import InstanceResult, ProbeVerdict, RunResult
from tests.report.examples import add_host, count, failed, new_run, realistic, small


def row(run: RunResult, key: bytes) -> KeyRow:
    (found,) = [row for row in build_report(run).keys if row.key == Key.whole(key)]
    return found


def codes(run: RunResult) -> list[str]:
    return [item.code for item in build_report(run).warnings]


def test_shares_and_rates_relate_to_fleet() -> None:
    a = row(small(), b"a")
    assert (a.requests, a.requests_max, a.hosts) == (2000, 2000, 2)
    assert a.share == pytest.approx(2000 / 2700)
    assert a.rate == pytest.approx(200.0)
    assert a.top_host is not None
    assert a.top_host.share == pytest.approx(1000 / 1500)


def test_rate_uses_window_of_each_host() -> None:
    run = new_run()
    add_host(run, "c1", {b"a": count([10] * 10)}, instance=lambda it: setattr(it, "window_s", 5.0))
    add_host(run, "c2", {b"a": count([10] * 10)}, instance=lambda it: setattr(it, "window_s", 10.0))
    report = build_report(run)
    assert report.totals.rate == pytest.approx(100 / 5 + 100 / 10)
    assert report.totals.window_s == (5.0, 10.0)
    assert report.hosts[0].load == pytest.approx(20 / 15)


def test_spread_is_one_several_or_everywhere() -> None:
    run = new_run()
    for number in range(10):
        keys = {b"everywhere": count([100])}
        if number < 3:
            keys[b"several"] = count([50])
        keys[b"mostly-one"] = count([10_000 if number == 4 else 1])
        add_host(run, f"c{number}", keys)
    spreads = {item.key.data: item.spread for item in build_report(run).keys}
    assert spreads == {
        b"everywhere": Spread.EVERYWHERE,
        b"several": Spread.SEVERAL,
        b"mostly-one": Spread.ONE,
    }


def test_bytes_out_use_mean_written_size() -> None:
    run = new_run()
    known = count([1010], {"get": 1000, "set": 10}, 10 * 512)
    known.misses = 100
    add_host(run, "c1", {b"sized": known, b"unsized": count([5]), b"read-only": count([5], {"get": 5}, 0)})
    assert row(run, b"sized").bytes_out == 900 * 512
    assert row(run, b"unsized").bytes_out is None
    assert row(run, b"read-only").bytes_out is None


def test_key_timeline_has_fleet_length() -> None:
    run = new_run()
    add_host(run, "c1", {b"early": count([5, 5]), b"long": count([1] * 10)})
    assert row(run, b"early").timeline == (5, 5, *[0] * 8)


def test_complete_exact_keys_are_certified() -> None:
    report = build_report(small())
    assert report.totals.certified == 3
    assert "bounds-open" not in [item.code for item in report.warnings]


def test_missing_host_opens_bounds_with_warning() -> None:
    run = small()
    failed(run, "cache-003", HostState.UNREACHABLE, "connect", "no route")
    report = build_report(run)
    assert report.totals.certified == 0
    assert report.totals.missing == ("cache-003",)
    (message,) = [item.message for item in report.warnings if item.code == "bounds-open"]
    assert message.startswith("1 host is missing or incomplete (cache-003)")


def test_host_without_memcached_is_not_missing() -> None:
    run = small()
    failed(run, "cache-003", HostState.NO_INSTANCES, "no-instances", "no memcached runs here")
    assert build_report(run).totals.certified == 3


def test_approximate_counts_certify_nothing() -> None:
    def watched(instance: InstanceResult) -> None:
        instance.probe = ProbeVerdict("watch", False)

    run = small()
    add_host(run, "cache-003", {b"d": count([5])}, instance=watched)
    assert build_report(run).totals.certified == 0
    assert "approximate" in codes(run)


def test_low_coverage_has_warning() -> None:
    def blind(instance: InstanceResult) -> None:
        assert instance.coverage is not None
        instance.coverage = dataclasses.replace(instance.coverage, counted=instance.coverage.traced * 2)

    run = new_run()
    add_host(run, "c1", {b"a": count([50_000])})
    assert "coverage-low" not in codes(run)
    add_host(run, "c2", {b"a": count([50_000])}, instance=blind)
    (message,) = [item.message for item in build_report(run).warnings if item.code == "coverage-low"]
    assert message == "the trace counted less than 99% of the traffic on c2 (at worst 50.0%)"


def test_one_unknown_coverage_makes_fleet_unknown() -> None:
    def not_asked(instance: InstanceResult) -> None:
        instance.coverage = None

    run = small()
    assert build_report(run).totals.coverage_unknown == ()
    add_host(run, "cache-009", {b"a": count([5])}, instance=not_asked)
    report = build_report(run)
    assert (report.totals.coverage, report.totals.coverage_unknown) == (None, ("cache-009",))
    assert report.totals.certified == 0
    assert "coverage-unknown" in codes(run)


def test_untraced_fleet_has_unknown_totals() -> None:
    run = new_run()
    failed(run, "c1", HostState.UNREACHABLE, "connect", "no route")
    totals = build_report(run).totals
    assert (totals.requests, totals.rate, totals.imbalance, totals.window_s) == (None, None, None, None)


def test_idle_fleet_has_rate_zero_without_shares() -> None:
    run = new_run()
    add_host(run, "c1", {})
    add_host(run, "c2", {})
    report = build_report(run)
    assert (report.totals.requests, report.totals.rate) == (0, 0.0)
    assert report.hosts[0].share is None


def test_families_have_hottest_member() -> None:
    report = build_report(realistic())
    sessions = next(item for item in report.templates if item.template == "sess:{}")
    assert sessions.keys == 61 * 60
    assert sessions.hottest is not None
    assert sessions.hottest < 0.01 * sessions.requests


def test_user_patterns_precede_found_families() -> None:
    report = build_report(realistic(), patterns=[re.compile(rb"^(pod\d+):rails")])
    assert any(item.template == "{}:rails{}" for item in report.templates)


def test_zero_templates_disables_families() -> None:
    assert build_report(realistic(), templates=0).templates == ()


def test_host_row_has_top_and_timeline() -> None:
    hot = next(item for item in build_report(realistic()).hosts if item.host == "cache-017")
    assert hot.top[0] == (Key.whole(b"user:1:profile"), 48_000)
    assert sum(hot.timeline) == hot.requests
