"""Every number of the report equals the truth, for each host and instance."""

from __future__ import annotations

from collections import Counter

import pytest

from fleettrace.lab.fleet import Lab
from tests.e2e.conftest import BigSweep
from tests.e2e.fleet import TRACED, key_of, keys_of, untraced

pytestmark = pytest.mark.lab


def as_traced(counts: Counter[bytes]) -> Counter[bytes]:
    """Return the truth as a trace can know it: a long key with a NUL is known up to the NUL."""
    seen: Counter[bytes] = Counter()
    for key, count in counts.items():
        seen[key.partition(b"\0")[0] if len(key) > 72 else key] += count
    return seen


def test_requests_of_every_key_are_exact(big_sweep: BigSweep) -> None:
    assert keys_of(big_sweep.done.report["keys"]) == as_traced(big_sweep.truth.by_key())


def test_totals_are_exact(big_sweep: BigSweep) -> None:
    report = big_sweep.done.report
    assert report["totals"]["requests"] == big_sweep.truth.total()
    assert report["totals"]["hosts_traced"] == len(TRACED) + 2  # two without traffic
    assert sum(row["share"] for row in report["keys"]) == pytest.approx(1)


@pytest.mark.parametrize("name", TRACED)
def test_requests_of_every_host_are_exact(big_sweep: BigSweep, name: str) -> None:
    host = big_sweep.done.host(name)
    assert (host["state"], host["error"]) == ("ok", None)
    truth = as_traced(big_sweep.truth.by_key(name))
    assert host["requests"] == truth.total()
    shown = keys_of(host["top"])
    assert shown == Counter(dict(truth.most_common(100))) or shown == {key: truth[key] for key in shown}
    assert len(shown) == min(100, len(truth))


def test_requests_of_every_instance_are_exact(lab: Lab, big_sweep: BigSweep) -> None:
    everywhere = keys_of(big_sweep.done.report["keys"])
    for place in big_sweep.truth.instances:
        instances = big_sweep.done.host(place.host)["instances"]
        [reported] = [one for one in instances if one["ports"] == [place.port]]
        assert reported["pid"] == lab.hosts[place.host].pids[place.port]
        assert reported["requests"] == big_sweep.truth.total(*place)
        assert reported["absent"] == 0
        own = {key: n for key, n in big_sweep.truth.by_key(*place).items() if key.startswith(place.host.encode())}
        assert own
        assert {key: everywhere[key] for key in own} == own


def test_instances_of_one_inode_are_distinguished(big_sweep: BigSweep) -> None:
    host = big_sweep.done.host("two")
    first, second = host["instances"]
    assert first["build_id"] == second["build_id"]
    assert first["pid"] != second["pid"]
    assert host["requests"] == first["requests"] + second["requests"]


def test_bounds_equal_counts_where_nothing_is_missing(big_sweep: BigSweep) -> None:
    assert big_sweep.done.report["totals"]["absent"] == 0
    assert all(row["requests_max"] in (None, row["requests"]) for row in big_sweep.done.report["keys"])


def test_probe_of_each_binary_is_reported(big_sweep: BigSweep) -> None:
    for name in TRACED:
        for instance in big_sweep.done.host(name)["instances"]:
            assert instance["version"].startswith("1.")
            assert (instance["probe"]["kind"], instance["probe"]["exact"]) == ("item", True)
            assert 15 < instance["window_s"] < 25


def test_renamed_and_deleted_binaries_are_found(big_sweep: BigSweep) -> None:
    by_port = {one["ports"][0]: one for one in big_sweep.done.host("shapes")["instances"]}
    assert set(by_port) == {11211, 11212, 11213}
    assert by_port[11212]["exe"].endswith("/kvstore")
    assert by_port[11213]["exe"].endswith(" (deleted)")
    assert big_sweep.done.host("container")["instances"][0]["exe"] == "/usr/local/bin/memcached"


def test_hottest_host_of_each_key_is_named(big_sweep: BigSweep) -> None:
    for row in big_sweep.done.report["keys"]:
        if b"\0" in key_of(row) or row["truncated"]:
            continue
        counts = {name: big_sweep.truth.by_key(name)[key_of(row)] for name in TRACED}
        assert row["hosts"] == sum(count > 0 for count in counts.values())
        assert row["top_host"]["requests"] == max(counts.values()) == counts[row["top_host"]["host"]]


def test_probes_are_removed_after_the_run(lab: Lab, big_sweep: BigSweep) -> None:
    assert big_sweep.patched_meanwhile
    assert untraced(lab, *TRACED)
