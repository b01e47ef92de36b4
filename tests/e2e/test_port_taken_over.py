"""A memcached that takes over a port during a trace does not change the counts of its predecessor."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from fleettrace.lab.load import Client
from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import TracedInstance
from tests.e2e.command import Command
from tests.e2e.local import ADDRESS, answers, free_port

pytestmark = pytest.mark.lab


def start(port: int) -> subprocess.Popen[bytes]:
    server = subprocess.Popen([str(DEBIAN), "-u", "nobody", "-l", ADDRESS, "-p", str(port)], stdin=subprocess.DEVNULL)
    wait_until(lambda: answers(port), f"memcached on port {port} does not start")
    return server


def send(port: int, key: bytes, number: int) -> None:

    with Client(TracedInstance("here", port), ADDRESS) as client:
        client.send([Request("get", (key,))] * number)


def test_successor_on_the_port_changes_no_count(tmp_path: Path) -> None:
    port = free_port()
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(f"all: {{hosts: {{here: {{ansible_connection: local, fleettrace_instances: [{port}]}}}}}}\n")
    server = start(port)
    try:
        with Command(["run", "-i", str(inventory), "--duration", "4s", "--output", "json", "-v"]) as command:
            command.wait_for_trace("here")
            time.sleep(0.2)
            send(port, b"before", 100)
            server.kill()
            server.wait()
            server = start(port)
            send(port, b"after", 5000)
            done = command.finish()
    finally:
        server.kill()
        server.wait()
    host = done.host("here")
    assert (host["state"], host["error"]["code"], host["requests"]) == ("partial", "memcached-ended", 100)
    assert host["coverage"] is None
    assert {row["key"]: row["requests"] for row in done.report["keys"]} == {"before": 100}
