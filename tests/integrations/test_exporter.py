"""A real Prometheus scrapes the exporter of a real trace: every query of the dashboard has an answer."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleettrace.app.exporter.status import Outcome, Status
from fleettrace.lab.build import memcached_binary
from fleettrace.lab.load import Client
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import TracedInstance
from fleettrace.report.build import build_report
from fleettrace.report.escape import unescape_key
from fleettrace.report.prometheus import PrometheusFormatter
from tests.e2e.command import REPOSITORY
from tests.e2e.exporter import Exporter, exporting
from tests.e2e.local import ADDRESS, Served, served
from tests.integrations.prometheus_server import Prometheus, prometheus
from tests.report.examples import realistic

DASHBOARD = REPOSITORY / "integrations/grafana/fleettrace.json"
RULES = REPOSITORY / "integrations/prometheus/fleettrace-exporter.rules.yml"
PROMTOOL = Path(sys.executable).with_name("promtool")
HOSTILE = b'a"}\\{\xff\\n,\xe2\x80\xae=#'


def panels() -> list[tuple[str, str]]:
    """Return title and query of each panel's targets."""
    board = json.loads(DASHBOARD.read_text())
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]


@contextmanager
def traffic(server: Served) -> Iterator[None]:
    """Send requests while the block runs: most for a hot key, the rest for the members of a family."""
    keys = [b"hot"] * 40 + [b"user:%d:profile" % number for number in range(60)] + [HOSTILE]
    requests = [Request("get", (key,)) for key in keys]
    ended = threading.Event()

    def send() -> None:
        with Client(TracedInstance("here", server.port), ADDRESS) as client:
            while not ended.wait(0.02):
                client.send(requests)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(frozen=True)
class Watched:
    """An exporter, and the server that scrapes it."""

    exporter: Exporter
    prometheus: Prometheus
    target: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Three traced hosts, and one that refuses connections, in two sweeps at least."""
    place = tmp_path_factory.mktemp("exporter")
    with ExitStack() as stack:
        servers = [stack.enter_context(served(place, memcached_binary())) for _ in range(3)]
        local = "ansible_connection: local, fleettrace_instances"
        hosts = ", ".join(f"here{server.port}: {{{local}: [{server.port}]}}" for server in servers)
        for server in servers:
            stack.enter_context(traffic(server))
        server.inventory.write_text(f"all: {{hosts: {{closed: {{ansible_port: 1}}, {hosts}}}}}\n")
        options = ["-i", str(server.inventory), "--interval", "3s", "--duration", "1s", "--prometheus-keys"]
        with exporting([*options, "--retries", "0"]) as exporter:
            target = f"{ADDRESS}:{exporter.port}"
            with prometheus(place, target, RULES) as scraper:
                exporter.wait_for_sweep("incomplete", 2)
                yield Watched(exporter, scraper, target)


def test_docs_show_the_shipped_alerts() -> None:
    shown = "".join(f"    {line}\n" for line in RULES.read_text().splitlines())
    assert shown in (REPOSITORY / "docs/how-to/exporter.md").read_text()


def case(text: str, *firing: str) -> dict[str, object]:
    """Return a test of promtool: after these metrics were served for 20 minutes, exactly these alerts fire."""
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": f"{value}+0x80"} for name, value in samples.items()],
        "alert_rule_test": [
            {"eval_time": "20m", "alertname": name, "exp_alerts": [{"exp_labels": {}}] if name in firing else []}
            for name in alerts
        ],
    }


def test_each_failure_of_an_exporter_fires_its_alert(tmp_path: Path) -> None:
    now = 0.0
    status = Status(300.0, 900.0, lambda: now, lambda: now)
    out = io.StringIO()
    PrometheusFormatter().write(build_report(realistic()), out)
    status.begin()
    status.end(Outcome.OK, out.getvalue())
    cases = [case(status.text().decode())]
    status.end(Outcome.FAILED)
    cases.append(case(status.text().decode(), "FleettraceSweepsFail"))
    now = 901.0
    cases.append(case(status.text().decode(), "FleettraceSweepsFail", "FleettraceResultOld"))
    cases.append(case("", "FleettraceExporterDown"))
    fresh = "fleettrace_exporter_interval_seconds 3\nfleettrace_exporter_result_age_seconds 4\n"
    cases.append(case(f"{fresh}fleettrace_coverage_ratio 0.9", "FleettraceCoverageLow"))
    file = tmp_path / "alerts.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": cases}))
    done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.lab
@pytest.mark.parametrize(("title", "expression"), panels())
def test_panel_has_an_answer(watched: Watched, title: str, expression: str) -> None:
    query = expression.replace("$instance", watched.target)
    assert not re.search(r"\$\w", query)
    wait_until(lambda: watched.prometheus.query(query), f"{title}: {query} has no answer", seconds=15, pause=0.2)
    assert all(math.isfinite(value) for _, value in watched.prometheus.query(query))


@pytest.mark.lab
def test_no_alert_is_active_while_sweeps_succeed(watched: Watched) -> None:
    wait_until(lambda: set(watched.prometheus.rules().values()) == {"inactive"}, "an alert is active", seconds=15)


@pytest.mark.lab
def test_hostile_keys_are_restored_from_labels(watched: Watched) -> None:
    series = watched.prometheus.query("fleettrace_key_window_requests > 0")
    assert HOSTILE in {unescape_key(labels["key"]) for labels, _ in series}
