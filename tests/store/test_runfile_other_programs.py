"""Other programs read run files as docs/run-files.md describes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from fleettrace.store.runfile.merge import read_merged
from fleettrace.store.runfile.run_result import run_result
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from tests.store.runs import Swept, host_result, write

DOCUMENT = Path(__file__).parents[2] / "docs" / "run-files.md"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    swept = Swept("r")
    for host in range(3):
        keys = {Key.whole(b"key:%d:\xff" % n): KeyCount(1000 // (n + 1), n % 2, timeline=[n]) for n in range(600)}
        summary = Summary(sum(count.requests for count in keys.values()) + 5, 2, keys)
        swept.hosts.append((host_result(f"c{host}", {"7@1": summary}), {"7@1": summary}))
    return write(tmp_path / "fleet.run", swept)


def test_documented_example_finds_hottest_keys(kept: Path) -> None:
    found = re.search(r"^    import collections.*?(?=^\()", DOCUMENT.read_text(), re.M | re.S)
    assert found is not None
    program = re.sub(r"^    ", "", found[0], flags=re.M)
    out = subprocess.run([sys.executable, "-c", program], cwd=kept.parent, stdout=subprocess.PIPE, check=True).stdout
    ranked = run_result(read_merged([kept])).fleet.rank(10)
    assert out.decode().splitlines() == [f"{row.key.data!r} {row.known.requests} {row.requests_max}" for row in ranked]


def test_duckdb_reads_lines(kept: Path) -> None:
    found = duckdb.sql(
        f"select unnest(key) as key, unnest(requests) as requests from read_json('{kept}', compression='gzip', "
        "format='newline_delimited', columns={kind: 'VARCHAR', key: 'VARCHAR[]', requests: 'BIGINT[]'}) "
        "where kind = 'counts'"
    )
    assert found is not None
    hottest = found.aggregate("key, sum(requests)::bigint as total").order("total desc").limit(3).fetchall()
    assert hottest == [("key:0:\xff", 3000), ("key:1:\xff", 1500), ("key:2:\xff", 999)]


def test_gunzip_reads_whole_file(kept: Path) -> None:
    lines = subprocess.run(["gzip", "-dc", os.fspath(kept)], stdout=subprocess.PIPE, check=True).stdout.splitlines()
    assert lines[0].startswith(b'{"kind":"header"')
    assert lines[-1].startswith(b'{"kind":"end"')
