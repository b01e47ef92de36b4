"""A real Prometheus server on this machine, which scrapes one exporter every second."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from fleettrace.lab.system import wait_until
from tests.e2e.local import ADDRESS, free_port

__all__ = ["Prometheus", "prometheus"]

PROGRAM = Path(sys.executable).with_name("prometheus")
_CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs: [{{job_name: fleettrace, static_configs: [{{targets: ["{target}"]}}]}}]
"""


class Prometheus:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"http://{ADDRESS}:{self._port}/{path}?{urlencode(parameters)}"
        with urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            with urlopen(f"http://{ADDRESS}:{self._port}/-/ready", timeout=5):
                return True
        except (URLError, ConnectionError):
            return False

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series that the expression has now."""
        data = self._get("api/v1/query", query=expression)
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def rules(self) -> dict[str, str]:
        """Return the state of each alert, `inactive` or how it fires, and `err` for one that cannot be evaluated."""
        groups = self._get("api/v1/rules")["groups"]
        return {
            rule["name"]: rule["state"] if rule["health"] == "ok" else rule["health"]
            for group in groups
            for rule in group["rules"]
        }


@contextmanager
def prometheus(directory: Path, target: str, rules: Path) -> Iterator[Prometheus]:
    """Run a server with its files in `directory`."""
    port = free_port()
    config = directory / "prometheus.yml"
    config.write_text(_CONFIG.format(rules=rules, target=target))
    with (directory / "prometheus.log").open("w") as log:
        server = subprocess.Popen(
            [
                *(PROGRAM, f"--config.file={config}", f"--web.listen-address={ADDRESS}:{port}"),
                f"--storage.tsdb.path={directory / 'data'}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        running = Prometheus(port)
        wait_until(running.ready, f"prometheus does not start: see {directory}/prometheus.log")
        yield running
    finally:
        server.kill()
        server.wait()
