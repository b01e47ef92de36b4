"""Measure a history of many runs: its size, and the time to store a run, list runs, follow a key, and compare runs.

Run as `python -m benchmarks.history`. Times of commands include Python's start. CPU time is printed beside the wall
clock, which depends on the other load of the machine.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median

from fleettrace.store.history.database import History
from fleettrace.store.history.model import StoredRun
from tests.store.diff_traffic import random_fleet, window

__all__ = ["main"]

_DIFFERENT = 20
"""The number of different runs; the others repeat them with other ids and times."""


def fill(store: Path, runs: int, keys: int) -> float:
    """Store `runs` runs and return the median time of one, in seconds."""
    rng = random.Random(1)
    fleet = replace(random_fleet(rng, keys=keys, rate=3e5), hosts=8, printed=10_000)
    names = [
        b"%s:%d:%s" % (rng.choice([b"user", b"session", b"pod7:rails"]), rng.getrandbits(40), b"profile")
        for _ in range(keys)
    ]
    fleet = replace(fleet, places=tuple(rng.randrange(8) for _ in range(keys)), names=tuple(names))
    drawn = [window(fleet, rng) for _ in range(_DIFFERENT)]
    times = []
    for number in range(runs):
        stored = _as_run(drawn[number % _DIFFERENT], number)
        began = time.perf_counter()
        with History.open(store, create=True) as history:
            history.add(stored)
        times.append(time.perf_counter() - began)
    return median(times)


def _as_run(run: StoredRun, number: int) -> StoredRun:
    started = run.info.started + timedelta(hours=number)
    return replace(run, info=replace(run.info, id=f"{started:%Y%m%dT%H%M%SZ}-{number:06x}", started=started))


def timed(store: Path, *arguments: str) -> tuple[float, float]:
    """Return the median wall clock and CPU time of a command, in seconds."""
    walls, cpus = [], []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        command = [sys.executable, "-m", "fleettrace", *arguments, "--store", str(store)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(walls), median(cpus)


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory) / "history.db"
        one = fill(store, args.runs, args.keys)
        size = store.stat().st_size
        print(
            f"{args.runs} runs of {args.keys} keys on 8 hosts: "
            f"{size / 1e6:.1f} MB, {size / args.runs / 1e3:.1f} kB each"
        )
        print(f"storing a run: {one * 1e3:.0f} ms")
        with History.open(store) as history:
            line = history.runs(1)[0]
            hottest = line.hottest.data.decode() if line.hottest is not None else ""
        for arguments in (
            ["history"],
            ["history", "--last", "1000"],
            ["history", "--last", "1000", "--key", hottest],
            ["history", "--last", "1000", "--host", "cache-3"],
            ["diff"],
            ["report", "last~500"],
        ):
            wall, cpu = timed(store, *arguments)
            print(f"fleettrace {' '.join(arguments):<52} {wall:6.2f} s, of CPU {cpu:.2f} s")


if __name__ == "__main__":
    main()
