"""Keys that expire, and keys that no client stores, distinguished in a real trace."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from tests.e2e.command import Command
from tests.e2e.local import ADDRESS, served

pytestmark = pytest.mark.lab


def test_expired_and_unstored_keys_are_distinguished(tmp_path: Path) -> None:
    with served(tmp_path, Path(DEBIAN)) as running, socket.create_connection((ADDRESS, running.port)) as client:
        answers = client.makefile("rb")

        def get(key: bytes) -> bool:
            client.sendall(b"get %b\r\n" % key)
            if answers.readline() == b"END\r\n":
                return False
            return answers.readline() + answers.readline() == b"v\r\nEND\r\n"

        options = ["--duration", "6s", "--misses", "--sort", "misses", "--output", "json", "-v"]
        with Command(["run", "-i", str(running.inventory), *options]) as command:
            command.wait_for_trace("here")
            misses = {b"short": 0, b"never": 0}
            # Longer than the window, so that the key exists when it is asked about.
            while not command.has_finished("here"):
                for key in misses:
                    if get(key):
                        continue
                    misses[key] += 1
                    if key == b"short":
                        client.sendall(b"set short 0 2 1\r\nv\r\n")
                        assert answers.readline() == b"STORED\r\n"
                time.sleep(0.02)
            done = command.finish()
    rows = {row["key"]: row for row in done.report["keys"]}
    assert misses[b"short"] >= 2
    coverage = done.report["totals"]["coverage"]
    # A request that memcached counted and the trace did not see may have been a store.
    complete = coverage is not None and coverage["traced"] >= coverage["counted"]
    asked = "did not have the key" in rows["never"]["unknown"]
    assert rows["never"]["miss_cause"] == ("not-stored" if complete and asked else None)
    [instance] = done.host("here")["instances"]
    # memcached may have been asked in the moment between expiry and the next store.
    surely = complete and rows["short"]["unknown"] is None and instance["stats"]["get_expired"]
    assert rows["short"]["miss_cause"] == ("expired" if surely else None)
