"""One large value beside a hot small one: the report ranks by bytes on request, and points it out otherwise."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.memcached import DEBIAN
from tests.e2e.command import Command, Done
from tests.e2e.local import ADDRESS, Served, served

pytestmark = pytest.mark.lab

LARGE = 90_000
BIG, SMALL = b"big", b"small"


@pytest.fixture(scope="module")
def memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("bytes"), Path(DEBIAN)) as running:
        with socket.create_connection((ADDRESS, running.port)) as client:
            for key, size, ttl in ((BIG, LARGE, 300), (SMALL, 10, 0)):
                client.sendall(b"set %b 0 %d %d\r\n%b\r\n" % (key, ttl, size, b"v" * size))
                assert client.recv(64) == b"STORED\r\n"
        yield running


def fetch(port: int, key: bytes, times: int) -> int:
    """Get a key so many times, and return the bytes received."""
    received = 0
    with socket.create_connection((ADDRESS, port)) as client:
        answers = client.makefile("rb")
        for _ in range(times):
            client.sendall(b"get %b\r\n" % key)
            while (line := answers.readline()) != b"END\r\n":
                received += len(line)
            received += len(b"END\r\n")
    return received


def traced(memcached: Served, *options: str) -> tuple[Done, int, int]:
    """Trace while both keys are asked for; return the end, and the bytes received of each."""
    with Command(["run", "-i", str(memcached.inventory), "--duration", "4s", "-v", *options]) as command:
        command.wait_for_trace("here")
        received = fetch(memcached.port, BIG, 400), fetch(memcached.port, SMALL, 2400)
        return command.finish(), *received


def key_of(report: dict[str, Any], key: bytes) -> dict[str, Any]:
    [row] = [row for row in report["keys"] if row["key"] == key.decode()]
    return dict(row)


def test_large_value_is_pointed_out(memcached: Served, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done, received, _ = traced(memcached, "--output", "json", "--html", str(page))
    assert [row["key"] for row in done.report["keys"]] == ["small", "big"]
    big = key_of(done.report, BIG)
    assert big["size"] == LARGE
    assert big["bytes_out"] == pytest.approx(received, rel=0.02)
    assert 290 <= big["ttl_s"] <= 300
    assert big["fetched"] is True
    assert key_of(done.report, SMALL)["ttl_s"] == -1
    assert done.report["by_bytes"]["key"] == "big"
    assert done.report["by_bytes"]["share"] > 0.99
    assert '"by_bytes"' in page.read_text()


def test_bytes_are_an_order(memcached: Served) -> None:
    done, _, _ = traced(memcached, "--sort", "bytes", "--top", "1", "--output", "json")
    assert [row["key"] for row in done.report["keys"]] == ["big"]
    assert done.report["by_bytes"] is None


def test_no_ask_leaves_sizes_unknown(memcached: Served) -> None:
    done, _, _ = traced(memcached, "--no-ask", "--output", "json")
    big = key_of(done.report, BIG)
    assert (big["size"], big["bytes_out"], big["unknown"]) == (None, None, "memcached was not asked about this key")
