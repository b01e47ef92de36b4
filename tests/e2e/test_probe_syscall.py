"""The probe kind `syscall`: approximate, and never with a byte of a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.protocol import Command
from tests.e2e.fleet import key_of, keys_of
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab

SECRET = b"get SECRET-ssn=123-45-6789 \r\nset SECRET 0 0 1\r\n"
LONG = b"long:" + b"x" * 245


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memcached_binary("stripped")) as running:
        yield running


def test_syscall_probe_counts_single_commands_exactly(memcached: Served) -> None:
    one_each = [
        *("get", "gets", "mg", "set", "add", "replace", "append", "prepend", "cas", "ms"),
        *("delete", "md", "incr", "decr", "ma", "touch"),
    ]
    requests = [
        *[Command("get", (b"a",)), Command("get", (bytes((0x21, 0x7E, 0xA0, 0xFF)) * 9,))] * 23,
        *[Command("set", (LONG,), SECRET), Command("get", (LONG,))] * 7,
        *[
            Command(verb, (b"%b:%d" % (verb.encode(), length) + b"y" * length,), b"10")
            for verb in one_each
            for length in range(0, 90, 9)
        ],
        *[Command("set", (b"big",), SECRET * 3000)] * 3,
    ]
    done, truth = memcached.trace(requests, "--probe", "syscall", at_once=1)
    rows = done.report["keys"]
    assert keys_of(rows) == truth.by_key()
    ops = Counter({(key_of(row), op): count for row in rows for op, count in row["ops"].items() if count})
    assert ops == truth.by_op()
    assert b"SECRET" not in done.out
    assert b"ssn" not in done.out
    [instance] = done.host("here")["instances"]
    assert (instance["probe"]["kind"], instance["probe"]["exact"]) == ("syscall", False)


def test_syscall_probe_counts_the_first_pipelined_command(memcached: Served) -> None:
    requests = [Command("get", (b"first", b"second")), Command("set", (b"third",), SECRET), Command("bget", (b"no",))]
    done, _ = memcached.trace(requests * 23, "--probe", "syscall", "--ops", "get", at_once=3)
    assert keys_of(done.report["keys"]) == Counter({b"first": 23})
    assert b"SECRET" not in done.out
    assert not any(row["certified"] for row in done.report["keys"])
