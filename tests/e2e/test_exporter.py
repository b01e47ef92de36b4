"""The exporter serves what a trace counted, and ends its traces with itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.fleet import Lab
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.system import wait_until
from tests.e2e.command import on_lab
from tests.e2e.exporter import exporting
from tests.e2e.fleet import patched, wait_until_untraced
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memcached_binary()) as running:
        yield running


def options(server: Served, seconds: int) -> list[str]:
    return ["-i", str(server.inventory), "--duration", f"{seconds}s", "--interval", "1h", "-v"]


def test_metrics_are_the_counts_of_the_last_sweep(server: Served) -> None:
    keys = [b"solo-key"] * 17 + [b"user:%d:profile" % number for number in range(40)]
    with exporting(options(server, 3)) as exporter:
        exporter.command.wait_for_trace("here")
        assert exporter.value("exporter_sweep_running") == 1
        truth = server.send([Request("get", (key,)) for key in keys], 10_000)
        assert not exporter.command.has_finished("here"), "the traffic outlasted the window"
        exporter.wait_for_sweep("ok")
        samples = exporter.samples()
        assert samples["window_requests", ()] == truth.total("here") == 57
        assert samples["host_window_requests", (("host", "here"),)] == 57
        assert samples["template_keys", (("template", "user:{}:profile"),)] == 40
        assert samples["coverage_ratio", ()] == samples["host_coverage_ratio", (("host", "here"),)] == 1
        assert "solo-key" not in exporter.text()

        os.kill(server.pid, signal.SIGKILL)
        exporter.sweep_again("failed")
        left = {name for name, labels in exporter.samples() if ("host", "here") in labels}
        assert left == {"host_ok"}


def test_sigterm_ends_the_trace_on_the_node(server: Served) -> None:
    with exporting(options(server, 60)) as exporter:
        exporter.command.wait_for_trace("here")
        assert patched(server.pid)
        done, seconds = exporter.end()
    assert done.status == 0
    assert seconds < 3
    wait_until(lambda: not patched(server.pid), "a probe is not removed", seconds=3)


def test_sigterm_does_not_wait_for_a_stuck_host(lab: Lab) -> None:
    hosts = ("plain", "two", "mute")
    with exporting(
        [*on_lab(lab, "--hosts", ",".join(hosts), "--duration", "60s", "--interval", "1h"), "-v"]
    ) as exporter:
        exporter.command.wait_for_trace("plain", "two")
        lab.hosts["two"].freeze()
        try:
            done, seconds = exporter.end()
        finally:
            lab.hosts["two"].thaw()
    assert (done.status, "Traceback" in done.err) == (0, False)
    assert seconds < 5
    wait_until_untraced(lab, "plain", "two")
