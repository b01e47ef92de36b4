"""Measure how often a comparison of two runs is wrong: findings in unchanged fleets, and planted changes that it finds.

Run as `python -m benchmarks.diff`. The fleets are those of `tests/store/diff_traffic.py`: skewed, with autocorrelated
bursts of up to 50 % from one second to the next, windows of 3 to 30 s, hosts that fail and keys that are cut off. A
planted change doubles or halves one of the hundred hottest keys, in fleets with smaller bursts (`moderate`).
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace

from fleettrace.store.diff.compare import compare
from fleettrace.store.diff.model import ChangeKind, ComparedKind, Diff
from tests.store.diff_traffic import Fleet, random_fleet, window

__all__ = ["main", "moderate", "planted", "unchanged"]


def unchanged(seed: int, keys: int) -> Diff:
    """Compare two runs of an unchanged fleet."""
    rng = random.Random(seed)
    fleet = random_fleet(rng, keys=keys)
    windows = [rng.choice([3, 6, 10, 20, 30]) for _ in range(2)]
    failed = [[host for host in range(fleet.hosts) if rng.random() < 0.1] for _ in range(2)]
    before, after = (
        window(fleet, rng, seconds=seconds, failed=hosts if fleet.hosts > 1 else ())
        for seconds, hosts in zip(windows, failed, strict=True)
    )
    return compare(before, after)


def moderate(rng: random.Random, keys: int) -> Fleet:
    """Return a fleet of 30,000 requests per second with keys that vary by up to 10 % from one second to the next."""
    fleet = random_fleet(rng, keys=keys, rate=3e4)
    bursts = tuple(min(burst, 0.1) for burst in fleet.bursts)
    return replace(fleet, printed=10_000, bursts=bursts, swing=min(fleet.swing, 0.05))


def planted(seed: int, keys: int) -> tuple[bool, int]:
    """Return whether a planted change is found, and the number of other keys that are reported as changed."""
    rng = random.Random(seed)
    fleet = moderate(rng, keys)
    number, times = rng.randrange(100), rng.choice([0.5, 2.0])
    before = window(fleet, rng, seconds=rng.choice([10, 20]))
    after = window(fleet, rng, seconds=rng.choice([10, 20]), times={number: times})
    diff = compare(before, after)
    reported = {change.name: change.kind for change in diff.of(ComparedKind.KEY)}
    expected = ChangeKind.RISEN if times > 1 else ChangeKind.FALLEN
    return reported.get(fleet.keys[number]) is expected, len(reported.keys() - {fleet.keys[number]})


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.pairs)
    diffs = [unchanged(seed, args.keys) for seed in seeds]
    wrong, findings = sum(bool(diff.changes) for diff in diffs), sum(len(diff.changes) for diff in diffs)
    tested = sum(diff.tested for diff in diffs)
    print(f"unchanged: {len(diffs)} pairs of runs, {wrong} with a finding; {findings} findings of {tested:,} compared")
    found = [planted(seed + 1_000_000, args.keys) for seed in seeds]
    others = sum(number > 0 for _, number in found)
    print(f"planted: {len(found)} pairs, {sum(hit for hit, _ in found)} found; {others} with another key reported")


if __name__ == "__main__":
    main()
