"""Hosts with `fleettrace_endpoint`: asked over memcached's port from the controller, plainly and with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.protocol import Command as Request
from tests.e2e.command import Done, run
from tests.e2e.fleet import keys_of
from tests.e2e.local import ADDRESS, Served, served

pytestmark = pytest.mark.lab

TRAFFIC = [
    *[Request("get", (b"a", b"b/%c", b"gone"))] * 23,
    *[Request("set", (b"a",), b"v" * 100), Request("delete", (b"gone",))] * 11,
    *[Request("mg", (b"k" * 250,)), Request("incr", (b"n",), b"1")] * 7,
]


def as_endpoint(memcached: Served, **variables: object) -> Served:
    """Write an inventory that reaches it over its port alone."""
    own = {"fleettrace_endpoint": f"{ADDRESS}:{memcached.port}", **variables}
    lines = "".join(f"      {name}: {value}\n" for name, value in own.items())
    memcached.inventory.write_text(f"all:\n  hosts:\n    here:\n{lines}")
    return memcached


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memcached_binary()) as running:
        yield as_endpoint(running)


def swept(memcached: Served, command: str = "run", **environment: str) -> Done:
    options = ["--duration", "1s", "--output", "json"]
    return run(command, "-i", str(memcached.inventory), *options, **environment)


def error_of(done: Done) -> Any:
    return done.host("here")["error"]


def test_endpoint_counts_lookups_without_a_login(memcached: Served) -> None:
    done, truth = memcached.trace(TRAFFIC)
    assert keys_of(done.report["keys"]) == truth.by_key()
    [instance] = done.host("here")["instances"]
    assert (done.status, instance["state"], instance["pid"]) == (0, "ok", memcached.pid)
    assert (instance["probe"]["kind"], instance["probe"]["exact"]) == ("watch", False)
    assert instance["coverage"]["counted"] == truth.total()
    assert not any(row["certified"] for row in done.report["keys"])
