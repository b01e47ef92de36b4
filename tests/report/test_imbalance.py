"""`fleettrace.report.imbalance` finds the planted cause of a hot host."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.report.build import build_report
from fleettrace.report.imbalance import Cause, CauseKind, loads
from fleettrace.summary.counts import KeyCount
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult
from tests.report.examples import add_host, count, new_run, realistic

FAMILIES = ("user:{}:profile", "session/{}", "cart-{}", "feed:{}:page:{}")
PLANTED_FAMILY = "thumb:{}:large"


def key_of(family: str, rng: random.Random) -> bytes:
    return family.replace("{}", "%08x").encode() % tuple(rng.getrandbits(32) for _ in range(family.count("{}")))


def base_keys(rng: random.Random, requests: int, warm: int) -> dict[bytes, KeyCount]:
    """Return a host's normal traffic: its own keys by a Zipf law, and one that is warm on every host."""
    names = [key_of(rng.choice(FAMILIES), rng) for _ in range(60)]
    scale = requests / sum(1 / rank for rank in range(3, 63))
    keys = {name: count([int(scale / rank)]) for rank, name in enumerate(names, 3)}
    keys[b"config:global"] = count([int(warm * rng.uniform(0.95, 1.05))])
    return keys


def fleet(hosts: int, seed: int, warm: int) -> tuple[list[dict[bytes, KeyCount]], random.Random]:
    rng = random.Random(seed)
    return [base_keys(rng, rng.randrange(9_000, 11_000), warm) for _ in range(hosts)], rng


def run_of(keys: list[dict[bytes, KeyCount]]) -> RunResult:
    run = new_run()
    for number, host_keys in enumerate(keys, 1):
        add_host(run, f"cache-{number:03d}", host_keys, top=50)
    return run


def cause_of(run: RunResult, host: str) -> Cause | None:
    (row,) = [row for row in build_report(run).hosts if row.host == host]
    return row.cause


shapes = {
    "hosts": st.integers(4, 40),
    "seed": st.integers(0, 10_000),
    "excess": st.floats(1.0, 6.0),
    "warm": st.sampled_from([0, 2_000, 20_000]),
}


# Below twice the ordinary traffic, some fleets drawn here have a family that explains the load better: the base
# traffic itself differs by a fifth between hosts, and the planted key belongs to a family.
@settings(max_examples=40)
@given(**shapes | {"excess": st.floats(2.0, 6.0)})
def test_planted_key_is_cause(hosts: int, seed: int, excess: float, warm: int) -> None:
    keys, rng = fleet(hosts, seed, warm)
    planted = key_of(rng.choice(FAMILIES), rng)
    keys[1][planted] = count([int((10_000 + warm) * excess)])
    cause = cause_of(run_of(keys), "cache-002")
    assert cause is not None
    assert (cause.kind, cause.key) == (CauseKind.KEY, Key.whole(planted))
    assert cause.load_without == pytest.approx(1.0, abs=0.2)


@settings(max_examples=40)
@given(**shapes)
def test_planted_family_without_hot_member_is_cause(hosts: int, seed: int, excess: float, warm: int) -> None:
    keys, rng = fleet(hosts, seed, warm)
    members = 200
    for _ in range(members):
        keys[1][key_of(PLANTED_FAMILY, rng)] = count([int((10_000 + warm) * excess / members)])
    cause = cause_of(run_of(keys), "cache-002")
    assert cause is not None
    assert (cause.kind, cause.template) == (CauseKind.TEMPLATE, PLANTED_FAMILY)
    assert cause.load_without == pytest.approx(1.0, abs=0.25)


@settings(max_examples=20)
@given(hosts=st.integers(4, 40), seed=st.integers(0, 10_000), times=st.integers(2, 5))
def test_uniform_excess_has_cause_neither(hosts: int, seed: int, times: int) -> None:
    keys, rng = fleet(hosts, seed, 0)
    for _ in range(times):
        keys[1] |= base_keys(rng, 10_000, 0)
    cause = cause_of(run_of(keys), "cache-002")
    assert cause is not None
    assert cause.kind is CauseKind.NEITHER


@settings(max_examples=20)
@given(hosts=st.integers(4, 40), seed=st.integers(0, 10_000), instances=st.integers(2, 5))
def test_more_instances_are_cause_before_key(hosts: int, seed: int, instances: int) -> None:
    keys, rng = fleet(hosts, seed, 0)
    run = run_of(keys)
    several = [base_keys(rng, 10_000, 0) for _ in range(instances)]
    add_host(run, "many", {key: known for one in several for key, known in one.items()}, top=50)
    whole = run.hosts[-1].instances.pop()
    assert whole.requests is not None
    parts = [replace(whole, pid=pid, requests=whole.requests // instances) for pid in range(instances)]
    run.hosts[-1].instances.extend(parts)
    cause = cause_of(run, "many")
    if cause is not None:
        assert cause.kind is CauseKind.INSTANCES
        assert cause.load_without == pytest.approx(1.0, abs=0.3)
    assert cause is not None or instances == 2


@settings(max_examples=20)
@given(hosts=st.integers(2, 40), seed=st.integers(0, 10_000), warm=st.sampled_from([0, 50_000]))
def test_even_fleet_has_no_cause(hosts: int, seed: int, warm: int) -> None:
    keys, _ = fleet(hosts, seed, warm)
    assert all(row.cause is None for row in build_report(run_of(keys)).hosts)


def test_realistic_hot_host_has_key_cause() -> None:
    cause = cause_of(realistic(), "cache-017")
    assert cause is not None
    assert cause.key == Key.whole(b"user:1:profile")
    assert cause.load_without == pytest.approx(0.97, abs=0.01)


def test_loads_are_multiples_of_mean() -> None:
    assert loads({"a": 300.0, "b": 100.0, "c": 200.0}) == {"a": 1.5, "b": 0.5, "c": 1.0}


@pytest.mark.parametrize("rates", [{}, {"a": 5.0}, {"a": 0.0, "b": 0.0}])
def test_loads_need_two_hosts(rates: dict[str, float]) -> None:
    assert loads(rates) == {}
