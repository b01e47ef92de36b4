"""Random bursty fleets: a comparison reports real changes and no others."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmarks.diff import planted, unchanged
from fleettrace.store.diff.noise import Noise, Timeline
from tests.store.diff_traffic import random_fleet, window

PAIRS = 100
KEYS = 120


@pytest.mark.slow
def test_runs_of_an_unchanged_fleet_do_not_differ() -> None:
    diffs = [unchanged(seed, KEYS) for seed in range(PAIRS)]
    wrong = [diff for diff in diffs if diff.changes]
    findings = sum(len(diff.changes) for diff in diffs)
    assert len(wrong) <= 0.01 * PAIRS
    assert findings <= 0.0001 * sum(diff.tested for diff in diffs)


@pytest.mark.slow
def test_only_doubled_hot_key_is_found() -> None:
    found = [planted(seed, KEYS) for seed in range(1_000, 1_000 + PAIRS)]
    assert sum(hit for hit, _ in found) >= 0.99 * PAIRS
    assert sum(others > 0 for _, others in found) <= 0.01 * PAIRS


@pytest.mark.parametrize("burst", [0.0, 0.2])
@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_noise_estimates_burst_and_memory(burst: float, memory: float) -> None:
    rng = random.Random(5)
    fleet = replace(random_fleet(rng, keys=200, rate=3e5), hosts=1, places=(0,) * 200, swing=0.0, printed=10_000)
    fleet = replace(fleet, bursts=(burst,) * 200, memory=memory)
    runs = [window(fleet, rng, seconds=20) for _ in range(2)]
    by_key = [{each.key: each.timeline for each in run.keys} for run in runs]
    pairs = [[Timeline(each[key], [1.0] * len(each[key])) for each in by_key] for key in by_key[0] if key in by_key[1]]
    noise = Noise(pairs)
    if burst:
        assert noise.usual == pytest.approx(burst**2, rel=0.3)
        assert noise.memory == pytest.approx(memory, abs=0.12)
    else:
        assert noise.usual is not None and noise.usual < 0.001
    # The wander of a window of 20 s is that of its mean, to which white noise contributes little.
    wander = noise.wander(pairs[0], (20, 20)).variance
    assert wander >= 2 * 0.03**2
    assert (wander > 3 * 2 * 0.03**2) == (burst > 0 and memory > 0)
