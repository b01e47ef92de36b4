"""The shipped programs and a user's program, each with a known number of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.protocol import Command
from fleettrace.resources import resource_dir
from tests.e2e.command import run
from tests.e2e.fleet import keys_of
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab

LONG = b"long:" + b"x" * 245
SLOW = resource_dir("bpftrace") / "slow-commands.bt"
OWN = """\
// COUNTS: @of_mine
// A comment with ${nothing} in it.
BEGIN { printf("hello @you\\n"); }
uprobe:${exe}:${point:do_item_get} /${pids}/ {
    $key = arg0; $length = arg1;
    @seen[tid] = count();
    if ($length > 3) { @of_mine[${key}] = count(); }
}
"""


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memcached_binary("stripped")) as running:
        yield running


def test_value_sizes_program(memcached: Served) -> None:
    requests = [
        *[Command("set", (b"a",), b"v" * 1000), Command("bset", (b"b in",), b"v")] * 23,
        *[Command("ms", (LONG,), b"v" * 17), Command("get", (b"a",)), Command("append", (b"a",), b"++")] * 7,
    ]
    done, _ = memcached.trace(requests, "--script", str(resource_dir("bpftrace") / "value-sizes.bt"))
    rows = {row["key"].encode(): (row["requests"], row["value_bytes"]) for row in done.report["keys"]}
    assert rows == {b"a": (23 + 7, 23 * 1000 + 7 * 2), b"b in": (23, 23), LONG: (7, 7 * 17)}
    [instance] = done.host("here")["instances"]
    assert (instance["probe"]["kind"], instance["state"]) == ("script", "ok")
    assert "value-sizes.bt" in instance["probe"]["why"]
    assert instance["coverage"] is None


@pytest.mark.parametrize(("nanoseconds", "slow"), [(0, True), (10**12, False)])
def test_slow_commands_program(memcached: Served, tmp_path: Path, nanoseconds: int, slow: bool) -> None:
    script = tmp_path / "slow.bt"
    script.write_text(SLOW.read_text().replace(">= 1000000)", f">= {nanoseconds})"))
    requests = [
        *[Command("get", (b"first", b"second", b"third"))] * 23,
        *[Command("set", (b"stored",), b"v" * 100)] * 11,
        *[Command("get", (LONG,)), Command("delete", (b"gone",))] * 7,
    ]
    done, _ = memcached.trace(requests, "--script", str(script), at_once=1)
    expected = {b"first": 23, b"stored": 11, LONG: 7, b"gone": 7} if slow else {}
    assert keys_of(done.report["keys"]) == Counter(expected)
    assert done.host("here")["state"] == "ok"


def test_user_program_counts_its_map(memcached: Served, tmp_path: Path) -> None:
    script = tmp_path / "own.bt"
    script.write_text(OWN)
    done, _ = memcached.trace([Command("get", (b"k", b"long"))] * 23, "--script", str(script))
    assert keys_of(done.report["keys"]) == Counter({b"long": 23})
    assert done.report["totals"]["requests"] == 23


def test_user_program_errors_name_the_cause(memcached: Served, tmp_path: Path) -> None:
    script = tmp_path / "own.bt"
    for old, new, named in (
        ("COUNTS: @of_mine", "Mine", "COUNTS: @"),
        ("${exe}", "${binary}", f"{script}:4: unknown variable ${{binary}}"),
        ("do_item_get", "do_something", "do_something"),
        ("/${pids}/", "", "${pids}"),
        ("@of_mine[${key}]", "@other[${key}]", "@of_mine"),
    ):
        script.write_text(OWN.replace(old, new))
        done = run("run", "-i", str(memcached.inventory), "--script", str(script))
        assert done.status == 2
        assert str(script) in done.err
        assert named in done.err
    script.write_text(OWN.replace("printf", "print_it"))
    done = run("run", "-i", str(memcached.inventory), "--duration", "1s", "--output", "json", "--script", str(script))
    assert done.host("here")["error"]["code"] == "attach-failed"
    assert "print_it" in done.host("here")["error"]["message"]
