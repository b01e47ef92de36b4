"""The hottest keys found by partial reading equal those of a full merge."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fleettrace.store.runfile import blocks, threshold
from fleettrace.store.runfile.hottest import hottest_fleet
from fleettrace.store.runfile.merge import Merged, read_merged
from fleettrace.store.runfile.run_result import fleet_parts, run_result
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from tests.store.runs import Swept, host_result, write

pytestmark = pytest.mark.usefixtures("small_blocks")

Draw = Callable[[random.Random, int, int], int]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small blocks, so that little data has many."""
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 8)


def zipf(rng: random.Random, rank: int, _host: int) -> int:
    return 1 + 100_000 // (rank + 1) + rng.randrange(5)


def flat(_rng: random.Random, _rank: int, _host: int) -> int:
    return 3


def one_hot_host(rng: random.Random, rank: int, host: int) -> int:
    return zipf(rng, rank, host) * (50 if host == 0 else 1)


def summary_of(rng: random.Random, host: int, draw: Draw, shared: float, absent: int) -> Summary:
    """200 keys, some of them on every host; a few are truncated."""
    keys = {}
    for rank in range(200):
        name = b"shared:%d" % rank if rng.random() < shared else b"own:%d:%d" % (host, rank)
        key = Key(name, 300) if rng.random() < 0.01 else Key.whole(name)
        requests = draw(rng, rank, host)
        keys[key] = KeyCount(requests, rng.randrange(absent + 1), {"get": requests}, rank, None, [1, requests])
    return Summary(sum(count.requests for count in keys.values()), absent, keys, [1, 2])


def kept(place: Path, draw: Draw, shared: float, absent: int, hosts: int = 8) -> Merged:
    rng = random.Random(5)
    swept = Swept("r")
    for host in range(hosts):
        counted = {f"{pid}@1": summary_of(rng, host, draw, shared, absent) for pid in range(1 + host % 2)}
        swept.hosts.append((host_result(f"c{host:02}", counted), counted))
    return read_merged([write(place / "run", swept)])


@pytest.mark.parametrize("absent", [0, 40, 5000])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("draw", [zipf, flat, one_hot_host])
def test_hottest_equal_those_of_full_merge(tmp_path: Path, draw: Draw, shared: float, absent: int) -> None:
    merged = kept(tmp_path, draw, shared, absent)
    everything = run_result(merged).fleet
    for n in (1, 10, 60):
        fleet = hottest_fleet("r", list(fleet_parts(merged)), n)
        assert fleet.rank(n) == everything.rank(n)
        assert (fleet.total, fleet.absent, fleet.timeline) == (everything.total, everything.absent, everything.timeline)
        assert fleet.sources == everything.sources


def test_others_do_not_change_hottest(tmp_path: Path) -> None:
    merged = kept(tmp_path, zipf, 0.5, 40)
    everything = run_result(merged).fleet
    fleet = hottest_fleet("r", list(fleet_parts(merged)), 20, others=400)
    assert fleet.rank(20) == everything.rank(20)
    assert 200 < len(fleet.keys) < len(everything.keys)
    for key, known in fleet.keys.items():
        assert known.count is not None
        whole = everything.keys[key].count
        assert whole is not None
        assert known.count.requests <= whole.requests


def test_too_many_keys_are_processed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merged = kept(tmp_path, flat, 0.2, 3)
    everything = run_result(merged).fleet
    monkeypatch.setattr(threshold, "_MOST_KEYS", 500)
    assert hottest_fleet("r", list(fleet_parts(merged)), 30).rank(30) == everything.rank(30)


def test_large_merge_has_warning(tmp_path: Path) -> None:
    merged = kept(tmp_path, zipf, 0.5, 40)
    whole, short = run_result(merged), run_result(merged, top=10, most_rows=100)
    assert short.fleet.rank(10) == whole.fleet.rank(10)
    assert short.hosts == whole.hosts
    assert [warn.code for warn in short.warnings if warn not in whole.warnings] == ["merged-hottest"]
