"""Measure the time from 5 million rows of run files to a top 100 with bounds, beside DuckDB, Polars and a plain dict.

    python -m benchmarks.merge [--hosts 500] [--keys 10000] [--rounds 5] [--directory DIR] [--polars-python PYTHON]

500 hosts of 10,000 keys each, in 16 run files as sixteen controllers write them, and the same rows (host, key,
requests, covered) as one Parquet file with zstd. Three key spaces: `shared` (nine keys of ten are on all hosts) and
`distinct` (no key is on two hosts), both with requests by Zipf's law, and `flat`, where no key is on two hosts either
and all have about as many requests, so that nothing can be left unread.

Every round runs each contender as a separate process. The output has medians: seconds, CPU seconds, peak memory
(ru_maxrss), and the time as a multiple of DuckDB's. All must print the same 100 keys with the same bounds. `fleettrace`
finds only these; `fleettrace merge` is the complete command with its JSON report: operations, timelines, families of
keys, every host. The dict reads all of the run files, too.

DuckDB and Polars (installed here, or for PYTHON) have as many threads as cores; the others have one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["main"]

FILES = 16
TOP = 100
ABSENT = 40
"""The most requests on a host for a key that it does not list."""
SPACES = ("shared", "distinct", "flat")
Row = tuple[str, int, int]

DUCKDB = """
import duckdb, sys
duckdb.sql('set enable_progress_bar = false')
rows = duckdb.sql(f'''
    with sums as materialized (
        select key, sum(requests)::bigint as low, sum(requests - covered)::bigint + {sys.argv[2]} as high
        from '{sys.argv[1]}' group by key),
    bars as (select list(high order by high desc) as bar from (select high from sums order by high desc limit 101))
    select key, low, high, (select bar from bars) from sums order by low desc, key limit 100
''').fetchall()
for key, low, high, bar in rows:
    print(key, low, high, low >= (bar[100] if high >= bar[99] else bar[99]))
"""

POLARS = """
import polars as pl, sys
high = (pl.col("requests") - pl.col("covered")).sum() + int(sys.argv[2])
sums = pl.scan_parquet(sys.argv[1]).group_by("key").agg(pl.col("requests").sum().alias("low"), high.alias("high"))
uppers, rows = pl.collect_all([
    sums.select(pl.col("high").top_k(101)), sums.sort(["low", "key"], descending=[True, False]).head(100)])
bar = sorted(uppers["high"], reverse=True)
for key, low, high in rows.iter_rows():
    print(key, low, high, low >= (bar[100] if high >= bar[99] else bar[99]))
"""


class Spent(NamedTuple):
    """The resources of one process: seconds by the clock and of CPU, peak memory in mebibytes; and its output."""

    wall: float
    cpu: float
    memory: float
    printed: str


def spend(command: list[str]) -> Spent:
    """Run a command and return its resources and output."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - started
        if process.returncode:
            raise SystemExit(f"failed: {command[:4]}")
        out.seek(0)
        printed = out.read().decode()
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)


def rows_of(space: str, host: int, keys: int) -> Iterator[Row]:
    """Yield key, requests and covered of one host, in no order."""
    rng = random.Random(host)
    for rank in range(keys):
        shared = space == "shared" and rank % 10
        name = f"user:{rank * 7919 % keys}:profile" if shared else f"user:{keys + host * keys + rank}:profile"
        by_rank = 50 if space == "flat" else round(200_000 / (rank + 1) ** 1.1)
        requests = by_rank + rng.randrange(1, 9)
        yield name, requests, rng.choice((ABSENT, ABSENT, ABSENT, ABSENT - 10))


def generate(space: str, part: int, hosts: int, keys: int, directory: Path) -> None:
    """Write one run file, and its rows as CSV."""
    from fleettrace.errors import HostState
    from fleettrace.store.runfile.writer import RunFileWriter
    from fleettrace.summary.counts import KeyCount, Summary
    from fleettrace.summary.fleet import hottest
    from fleettrace.summary.key import Key
    from fleettrace.summary.run import HostResult, InstanceResult, ProbeVerdict, RunInfo

    now = datetime(2026, 1, 1, tzinfo=UTC)
    with (
        RunFileWriter(directory / f"{space}-{part}.run") as writer,
        (directory / f"{space}-{part}.csv").open("w") as table,
    ):
        for host in range(part, hosts, FILES):
            counts = {}
            for name, requests, covered in rows_of(space, host, keys):
                table.write(f"cache-{host:04},{name},{requests},{covered}\n")
                ops = {"get": requests - requests // 10, "set": requests // 10}
                timeline = [requests // 10] * 9 + [requests - requests // 10 * 9]
                counts[Key.whole(name.encode())] = KeyCount(requests, covered, ops, requests // 50, None, timeline)
            summary = Summary(sum(count.requests for count in counts.values()), ABSENT, counts, [1] * 10)
            instance = InstanceResult(
                4711, HostState.OK, "/usr/bin/memcached", ProbeVerdict("item", exact=True), window_s=10.0
            )
            instance.requests, instance.absent = summary.total, summary.absent
            result = HostResult(f"cache-{host:04}", HostState.OK, None, [instance], hottest(summary, 100), [1] * 10)
            writer.add(f"run-{part}", result, {"4711@1": summary}, place=host)
        writer.finish([RunInfo(f"run-{part}", now, "all", 10.0, "0.1.0", finished=now)])


def to_parquet(space: str, directory: Path) -> None:
    """Write the rows of all run files as one Parquet file."""
    import duckdb

    names = {"host": "VARCHAR", "key": "VARCHAR", "requests": "BIGINT", "covered": "BIGINT"}
    duckdb.execute(
        f"copy (select * from read_csv('{directory}/{space}-*.csv', header=false, columns={names})) "
        f"to '{directory}/{space}.parquet' (format parquet, compression zstd)"
    )
    for table in directory.glob(f"{space}-*.csv"):
        table.unlink()


def fleettrace(paths: list[Path]) -> Iterator[tuple[str, int, int, bool]]:
    """Yield the top keys, computed as `fleettrace merge` does for many rows."""
    from fleettrace.store.runfile.hottest import hottest_fleet
    from fleettrace.store.runfile.merge import read_merged
    from fleettrace.store.runfile.run_result import fleet_parts

    fleet = hottest_fleet("merged", list(fleet_parts(read_merged(paths))), TOP, details=False)
    for row in fleet.rank(TOP):
        yield row.key.data.decode(), row.known.requests, row.requests_max, row.certified


def plain_dict(paths: list[Path]) -> Iterator[tuple[str, int, int, bool]]:
    """Yield the top keys, computed with two dicts of all keys."""
    from heapq import nlargest, nsmallest

    from fleettrace.store.runfile.blocks import column
    from fleettrace.store.runfile.reader import open_file, read_run_file

    absent = 0
    low: dict[str, int] = {}
    excess: dict[str, int] = {}
    for path in paths:
        for record in read_run_file(path).hosts:
            with open_file(path) as file:
                for counted in record.counted.values():
                    absent += counted.absent
                    for block in counted.blocks:
                        rows = counted.listed(block, file)
                        for name, count, less in zip(
                            rows["key"], rows["requests"], column(rows["covered"]), strict=False
                        ):
                            low[name] = low.get(name, 0) + count
                            excess[name] = excess.get(name, 0) + count - less
    bar = [absent + one for one in nlargest(TOP + 1, excess.values())]
    for name, count in nsmallest(TOP, low.items(), key=lambda item: (-item[1], item[0])):
        high = absent + excess[name]
        yield name, count, high, count >= (bar[TOP] if high >= bar[TOP - 1] else bar[TOP - 1])


CHILDREN: dict[str, Callable[[list[Path]], Iterator[tuple[str, int, int, bool]]]] = {
    "fleettrace": fleettrace,
    "dict": plain_dict,
}


def contenders(space: str, directory: Path, hosts: int, polars_python: str) -> dict[str, list[str]]:
    """Return the command line of each contender."""
    absent = str(ABSENT * hosts)
    paths = [str(directory / f"{space}-{part}.run") for part in range(FILES)]
    parquet = str(directory / f"{space}.parquet")
    mine = [sys.executable, "-m", "benchmarks.merge", "--child"]
    found = {
        "DuckDB": [sys.executable, "-c", DUCKDB, parquet, absent],
        "Polars": [polars_python, "-c", POLARS, parquet, absent],
        "dict": [*mine, "dict", *paths],
        "fleettrace": [*mine, "fleettrace", *paths],
        "fleettrace merge": [
            *(sys.executable, "-m", "fleettrace", "merge", *paths),
            *("--top", str(TOP), "--output", "json", "-o", str(directory / "report.json")),
        ],
    }
    if polars_python == sys.executable and importlib.util.find_spec("polars") is None:
        del found["Polars"]
    return found


def compare(space: str, directory: Path, options: argparse.Namespace) -> None:
    """Run every contender in turn, and print a line for each."""
    commands = contenders(space, directory, options.hosts, options.polars_python)
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            spent[name].append(spend(command))
    answers = {name: {each.printed for each in found} for name, found in spent.items() if name != "fleettrace merge"}
    agreed = len(set.union(*answers.values())) == 1
    duckdb = statistics.median(each.wall for each in spent["DuckDB"])
    for name, found in spent.items():
        wall, cpu, memory = (statistics.median(values) for values in list(zip(*found, strict=True))[:3])
        print(f"| {space} | {name} | {wall:.2f} s | {cpu:.2f} s | {memory:.0f} MB | {wall / duckdb:.2f} |", flush=True)
    print(f"| {space} | the same 100 keys and bounds from all: {'yes' if agreed else 'NO'} | | | | |", flush=True)


def prepare(space: str, options: argparse.Namespace, directory: Path) -> None:
    """Write the files, unless they exist."""
    if (directory / f"{space}.parquet").exists():
        return
    sizes = [str(options.hosts), str(options.keys)]
    for part in range(FILES):
        # In separate processes: a child's peak memory is at least its parent's memory when it is started.
        spend(
            [sys.executable, "-m", "benchmarks.merge", "--child", "generate", space, str(part), *sizes, str(directory)]
        )
    spend([sys.executable, "-m", "benchmarks.merge", "--child", "parquet", space, str(directory)])


def child(name: str, *words: str) -> int:
    """Do the work of a child process of the benchmark."""
    if name == "generate":
        generate(words[0], int(words[1]), int(words[2]), int(words[3]), Path(words[4]))
    elif name == "parquet":
        to_parquet(words[0], Path(words[1]))
    else:
        for row in CHILDREN[name]([Path(word) for word in words]):
            print(*row)
    return 0


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=SPACES)
    parser.add_argument("--directory", type=Path, help="a directory for files to reuse in later runs")
    parser.add_argument("--polars-python", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory: Any = options.directory or Path(temporary)
        directory.mkdir(exist_ok=True)
        for space in options.spaces:
            prepare(space, options, directory)
            run_files = sum((directory / f"{space}-{part}.run").stat().st_size for part in range(FILES))
            parquet = (directory / f"{space}.parquet").stat().st_size
            print(f"{space}: {run_files / 2**20:.0f} MB of run files, {parquet / 2**20:.0f} MB of Parquet", flush=True)
        print("\n| keys | by | time | CPU | memory | time / DuckDB's |\n|---|---|---|---|---|---|")
        for space in options.spaces:
            compare(space, directory, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
