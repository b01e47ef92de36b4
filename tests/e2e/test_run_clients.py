"""`fleettrace run --clients` counts the requests of each host and of hot keys by client, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.binary.builds import installed
from tests.e2e.command import Command, Done
from tests.e2e.local import ADDRESS, Served, served
from tests.e2e.who_clients import OtherClient

pytestmark = pytest.mark.lab

KEY, OTHER = "user:12345", "user:12346"
LONG, ALIKE = "l" * 70 + "a" + "l" * 179, "l" * 70 + "b" + "l" * 179


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """The distribution's memcached, which is stripped."""
    path = installed()
    assert path is not None
    with served(tmp_path, path) as running:
        yield running


def sweep(server: Served, *options: str, seconds: int = 5) -> Command:
    given = ["--duration", f"{seconds}s", "--no-ask", "-v", "--output", "json"]
    return Command(["run", "-i", str(server.inventory), "--clients", *given, *options])


def report(done: Done) -> Any:
    assert done.status == 0, done.err
    return done.report


def counts(row: Any) -> dict[str, int]:
    return {client["client"]: client["requests"] for client in row["clients"]}


def test_clients_of_hosts_and_keys_are_exact(server: Served) -> None:
    with ExitStack() as stack:
        stays, leaves, arrives = (
            stack.enter_context(OtherClient(f"127.0.0.{number}", ADDRESS, server.port)) for number in (5, 6, 7)
        )
        stays.order("open")
        leaves.order("open")
        with sweep(server) as command:
            command.wait_for_trace("here")
            stays.order("get", KEY, "101")
            leaves.order("get", KEY, "53")
            leaves.order("close")
            for _ in range(4):
                arrives.order("open")  # gets the descriptor of the one that left
                arrives.order("get", KEY, "7")
                arrives.order("get", OTHER, "2")
                arrives.order("close")
            stays.order("get", OTHER, "500")
            leaves.order("open")
            leaves.order("get", LONG[:100], "19")
            leaves.order("get", LONG, "3")
            leaves.order("get", ALIKE, "2")
            assert not command.has_finished("here"), "the traffic outlasted the window"
            found = report(command.finish())
    [host] = found["hosts"]
    assert counts(host) == {"127.0.0.5": 601, "127.0.0.6": 77, "127.0.0.7": 36}
    keys = {key["key"]: key for key in found["keys"]}
    assert counts(keys[KEY]) == {"127.0.0.5": 101, "127.0.0.6": 53, "127.0.0.7": 28}
    assert counts(keys[OTHER]) == {"127.0.0.5": 500, "127.0.0.7": 8}
    assert counts(keys[LONG[:100]]) == {"127.0.0.6": 19}
    # These two differ in the middle only, which the map of pairs does not hold.
    unknown = {key: row["clients_unknown"] for key, row in keys.items()}
    assert unknown == {KEY: 0, OTHER: 0, LONG[:100]: 0, LONG: 3, ALIKE: 2}
    assert host["clients_unknown"] == 0


def test_client_of_other_host_resembles_proxy(tmp_path: Path, other_host: tuple[str, str, list[str]]) -> None:
    near, far, inside = other_host
    path = installed()
    assert path is not None
    with (
        served(tmp_path, path, "-l", near) as server,
        OtherClient(far, near, server.port, inside) as there,
        OtherClient(near, near, server.port) as here,
    ):
        there.order("open")
        with sweep(server, seconds=4) as command:
            command.wait_for_trace("here")
            there.order("get", KEY, "310")
            here.order("open")
            here.order("get", KEY, "17")
            there.order("again")
            there.order("get", KEY, "2")
            assert not command.has_finished("here"), "the traffic outlasted the window"
            found = report(command.finish())
    [host], [key] = found["hosts"], found["keys"]
    assert counts(host) == counts(key) == {far: 312, near: 17}
    assert (host["clients_unknown"], key["clients_unknown"]) == (0, 0)
    assert host["clients"][0]["share"] > 0.9
