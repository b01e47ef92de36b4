"""What a full memcached reports of itself is in the report of a real trace: the class that evicts, hits, and bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command as Request
from tests.e2e.command import run
from tests.e2e.local import served

pytestmark = pytest.mark.lab

VALUE = b"x" * 1000
FILL = [Request("set", (b"old%d" % number,), VALUE) for number in range(4000)]
BATCH = [
    request
    for number in range(2000)
    for request in (Request("set", (b"new%d" % number,), VALUE), Request("get", (b"absent", b"hot")))
]


@pytest.mark.parametrize("probe", ["item", "watch"])
def test_report_names_the_class_that_evicts(tmp_path: Path, probe: str) -> None:
    with served(tmp_path, DEBIAN, "-m", "4") as memcached:
        memcached.send([*FILL, Request("set", (b"hot",), b"1")], 100)
        stored = tmp_path / "run"
        done, _ = memcached.trace(BATCH, "--probe", probe, "--save", str(stored), at_once=300)
    assert done.status == 0, done.err
    (host,) = json.loads(done.out)["hosts"]
    (instance,) = host["instances"]
    stats = instance["stats"]
    assert (stats["get_hits"] + stats["get_misses"], stats["get_misses"] >= 2000) == (4000, True)
    assert stats["hit_ratio"] == host["stats"]["hit_ratio"] == pytest.approx(stats["get_hits"] / 4000)
    assert stats["bytes_read"] > 2000 * 1000
    assert (stats["memory_limit"], stats["threads"]) == (4 << 20, 2)
    # `watch` opens a connection of its own.
    assert 1 <= stats["new_connections"] <= (2 if probe == "watch" else 1)
    assert stats["evicting_class"]["number"] == 12
    assert stats["evicting_class"]["evictions"] == stats["evictions"] > 1900
    assert stats["unknown"] == {}
    (remark,) = host["stats"]["remarks"]
    assert remark.startswith("here evicts ")
    assert remark.endswith(" items/s, nearly all from class 12 (items of about 1.2 kB)")
    table = run("report", str(stored), "--hosts-detail").out.decode()
    assert remark in table
    assert "MEMCACHED  its own counters over the window" in table
