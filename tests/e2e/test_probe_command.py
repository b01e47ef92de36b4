"""The probe kind `command`, on binaries that end a command line with a NUL and on those that pass its length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.protocol import Command
from tests.e2e.fleet import keys_of
from tests.e2e.local import Served, binary, names, served

pytestmark = pytest.mark.lab

SECRET = b"SECRET-ssn=123-45-6789"


@pytest.fixture(params=names())
def memcached(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, binary(request.param)) as running:
        yield running


def traffic() -> list[Command]:
    many = tuple(b"m%02d" % number for number in range(30))
    return [
        *[Command("set", (b"secret:%d" % number,), SECRET * 9) for number in range(23)],
        *[Command("get", (b"secret:%d" % number,)) for number in range(23)] * 3,
        *[Command("get", (b"nope",)), Command("delete", (b"nope",)), Command("gat", (b"secret:1", b"nope"))] * 5,
        *[Command("get", many)] * 7,
        *[Command("incr", (b"n",), b"5"), Command("touch", (b"secret:2",)), Command("cas", (b"c" * 100,))] * 11,
    ]


def test_command_probe_counts_keys_and_reads_no_value(memcached: Served) -> None:
    done, truth = memcached.trace(traffic(), "--probe", "command")
    [instance] = done.host("here")["instances"]
    assert (instance["probe"]["kind"], instance["probe"]["exact"]) == ("command", False)
    rows = done.report["keys"]
    assert keys_of(rows) == truth.by_key()
    ops = Counter({(row["key"].encode(), op): count for row in rows for op, count in row["ops"].items() if count})
    assert ops == truth.by_op()
    assert b"ssn" not in done.out
    assert SECRET not in done.out
    assert "ssn" not in done.err
