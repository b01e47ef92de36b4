"""The other numbers of each key: requests by kind, misses, and the bytes written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.protocol import Command
from tests.e2e.fleet import keys_of
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab

LONG = b"long:" + b"x" * 200


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memcached_binary()) as running:
        yield running


def traffic() -> list[Command]:
    return [
        *[Command("set", (b"a",), b"v" * 1000)] * 23,
        *[Command("get", (b"a",))] * 29,
        *[Command("get", (b"gone", b"a", b"gone", LONG))] * 11,
        *[Command("set", (LONG,), b"12345")] * 3,
        *[Command("incr", (LONG,), b"1"), Command("incr", (b"gone",), b"1"), Command("delete", (b"gone",))] * 7,
        *[Command("bset", (b"bin ary",), b"x" * 17), Command("bget", (b"bin ary",)), Command("bget", (b"no",))] * 5,
        *[Command("ms", (b"meta",), b"123"), Command("mg", (b"meta",)), Command("mg", (b"none",))] * 2,
    ]


def test_ops_counts_only_the_selected_kinds(memcached: Served) -> None:
    done, truth = memcached.trace(traffic(), "--ops", "set,arith")
    ops = Counter({(row["key"].encode(), op): n for row in done.report["keys"] for op, n in row["ops"].items() if n})
    assert ops == Counter({slot: n for slot, n in truth.by_op().items() if slot[1] in ("set", "arith")})
    [instance] = done.host("here")["instances"]
    assert instance["requests"] == ops.total()
    assert instance["absent"] == 0
    # memcached counts requests of every kind, so its counters cannot confirm the selected ones.
    assert [warning["code"] for warning in done.report["warnings"]] == ["coverage-unknown"]


def test_misses_are_counted_by_key_without_stores(memcached: Served) -> None:
    done, truth = memcached.trace(traffic(), "--misses")
    assert keys_of(done.report["keys"]) == truth.by_key()
    misses = {row["key"].encode(): row["misses"] for row in done.report["keys"]}
    assert {key: count for key, count in misses.items() if count} == {
        b"gone": 11 * 2 + 7 + 7,
        LONG: 11,
        b"no": 5,
        b"none": 2,
    }
    assert set(misses.values()) >= {0}
    assert all(row["value_bytes"] is None for row in done.report["keys"])


def test_sizes_are_summed_by_key(memcached: Served) -> None:
    done, truth = memcached.trace(traffic(), "--sizes", "--ops", "set,get")
    counted = keys_of(done.report["keys"])
    assert counted[b"a"] == truth.by_key()[b"a"]
    written = {row["key"].encode(): row["value_bytes"] for row in done.report["keys"]}
    assert {key: size for key, size in written.items() if size} == {
        b"a": 23 * 1000,
        LONG: 3 * 5,
        b"bin ary": 5 * 17,
        b"meta": 2 * 3,
    }
    assert written[b"no"] == 0
    assert all(row["misses"] is None for row in done.report["keys"])
