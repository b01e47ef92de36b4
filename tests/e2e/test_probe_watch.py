"""The probe kind `watch`, memcached's own watchers: without bpftrace or root, approximate, with bounds."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.fleet import Lab
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.specs import Bpftrace, HostSpec, Login
from fleettrace.lab.truth import TracedInstance
from tests.e2e.command import Command, on_lab, run
from tests.e2e.fleet import keys_of
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab


def traffic() -> list[Request]:
    return [
        *[Request("get", (b"a", b"b/%c", b"gone"))] * 23,
        *[Request("set", (b"a",), b"v" * 100), Request("delete", (b"gone",))] * 11,
        *[Request("bget", (b"any \xff\n",)), Request("mg", (b"k" * 250,)), Request("incr", (b"n",), b"1")] * 7,
    ]


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memcached_binary()) as running:
        inventory = running.inventory.read_text()
        running.inventory.write_text(inventory.replace("here: {", "here: {fleettrace_bpftrace: /nowhere/bpftrace, "))
        yield running


def test_watch_counts_lookups_without_bpftrace(memcached: Served) -> None:
    done, truth = memcached.trace(traffic(), "--probe", "watch")
    assert keys_of(done.report["keys"]) == truth.by_key()
    [instance] = done.host("here")["instances"]
    assert (instance["state"], instance["pid"], instance["probe"]["kind"]) == ("ok", memcached.pid, "watch")
    assert instance["probe"]["exact"] is False
    assert 2.9 < instance["window_s"] < 5
    # On a busy machine memcached may answer too late for its counters to be assigned to the window.
    assert instance["coverage"] is None or instance["coverage"]["counted"] == truth.total()
    assert [row for row in done.report["keys"] if row["ops"] is not None] == []
    assert not any(row["certified"] for row in done.report["keys"])


def test_auto_suggests_watch_without_bpftrace(memcached: Served) -> None:
    done = run("run", "-i", str(memcached.inventory), "--duration", "1s", "--output", "json")
    assert done.host("here")["state"] == "no-bpftrace"
    assert "--probe watch" in done.host("here")["error"]["message"]


def test_interrupted_watch_reports_its_counts(memcached: Served) -> None:
    options = ["--duration", "60s", "--output", "json", "-v", "--probe", "watch"]
    with Command(["run", "-i", str(memcached.inventory), *options]) as command:
        command.wait_for_trace("here")
        truth = memcached.send(traffic(), 50)
        time.sleep(1.5)  # memcached reports little traffic only once a second
        command.signal(signal.SIGINT)
        done = command.finish(seconds=20)
    assert done.status == 130
    assert keys_of(done.report["keys"]) == truth.by_key()


def test_refused_watch_is_reported_with_memcacheds_answer(tmp_path: Path) -> None:
    with served(tmp_path, memcached_binary(), "-W") as memcached:
        done = run("run", "-i", str(memcached.inventory), "--probe", "watch", "--duration", "1s", "--output", "json")
    error = done.host("here")["error"]
    assert error["code"] == "watch-failed"
    assert "watch commands not allowed" in error["message"]  # memcached's own message (proto_text.c)


def test_watch_needs_no_root() -> None:
    spec = HostSpec("user", login=Login.SUDO_REFUSED, bpftrace=Bpftrace.ABSENT, variables={"ansible_become": False})
    options = ["--duration", "4s", "--output", "json", "-v", "--probe", "watch"]
    with Lab([spec]) as lab:
        with Command(["run", *on_lab(lab, *options)]) as command:
            command.wait_for_trace("user")
            truth = lab.send({TracedInstance("user", 11211): traffic()})
            done = command.finish()
        [instance] = done.host("user")["instances"]
        assert instance["pid"] == lab.hosts["user"].pids[11211]
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert instance["ports"] == [11211]
