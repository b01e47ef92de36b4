"""One real run in every format and as a page; with `--redact`, no output has a name."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleettrace.app.option_report import FORMATS
from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import WEB
from tests.e2e.command import Command, Done, on_lab, run
from tests.e2e.secret_watch import Watch

pytestmark = pytest.mark.lab

HOSTS = ("--hosts", "plain,two", "--duration", "3s")
SECRET = "0123456789abcdef-not-to-be-seen"


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A reported run and the directory of its files."""

    done: Done
    directory: Path

    def again(self, *options: str) -> str:
        """Return the same run, reported with other options."""
        done = run("report", str(self.directory / "run"), *options)
        assert (done.status, done.err) == (0, "")
        return done.out.decode()


@pytest.fixture(scope="module")
def busy(lab: Lab) -> Iterator[Lab]:
    """Yield the fleet with traffic on the two hosts."""
    instances = lab.instances("plain", "two")
    load = lab.start_load([Flow(instance, lab.hosts[instance.host].address, WEB, 200.0) for instance in instances], 600)
    yield lab
    load.stop()


@pytest.fixture(scope="module")
def saved(busy: Lab, tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    directory = tmp_path_factory.mktemp("report")
    (directory / "metrics.prom").write_text("old")
    (directory / "metrics.prom").chmod(0o640)
    files = (
        "-o",
        str(directory / "metrics.prom"),
        "--html",
        str(directory / "page.html"),
        "--save",
        str(directory / "run"),
    )
    done = run("run", *on_lab(busy, *HOSTS, "--output", "prometheus", "--prometheus-keys", "-q", *files))
    return SavedRun(done, directory)


def test_textfile_and_page_are_replaced_atomically(saved: SavedRun) -> None:
    assert (saved.done.status, saved.done.out, saved.done.err) == (0, b"", "")
    assert sorted(path.name for path in saved.directory.iterdir()) == ["metrics.prom", "page.html", "run"]
    metrics = saved.directory / "metrics.prom"
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o640
    assert read("prometheus", metrics.read_text()) == read("html", (saved.directory / "page.html").read_text())


@pytest.mark.parametrize("output", FORMATS)
def test_every_format_has_the_same_numbers(saved: SavedRun, output: str) -> None:
    keys = ["--prometheus-keys"] if output == "prometheus" else []
    total, hottest = read(output, saved.again("--output", output, *keys))
    assert (total, hottest) == read("html", (saved.directory / "page.html").read_text())
    assert total > 0
    assert hottest == "user:0:profile"


def test_user_templates_come_first(saved: SavedRun) -> None:
    report = json.loads(saved.again("--output", "json", "--template", r"^user:(\d+)"))
    families = [row["template"] for row in report["templates"]]
    assert "user:{}{}" in families or "user:{}" in families
    assert "user:{}:profile" not in families


def read(output: str, text: str) -> tuple[int, str]:
    """Return the fleet's requests and its hottest key, read by an independent parser where one exists."""
    match output:
        case "json":
            report: Any = json.loads(text)
            return report["totals"]["requests"], report["keys"][0]["key"]
        case "csv":
            rows = list(csv.DictReader(io.StringIO(text)))
            (total,) = [int(row["requests"]) for row in rows if row["kind"] == "fleet"]
            return total, next(row["name"] for row in rows if row["kind"] == "key")
        case "prometheus":
            families = {family.name: family.samples for family in text_string_to_metric_families(text)}
            key = max(families["fleettrace_key_window_requests"], key=lambda sample: sample.value)
            return int(families["fleettrace_window_requests"][0].value), key.labels["key"]
        case "html":
            found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
            assert found is not None
            page = json.loads(found[1])
            return page["totals"]["requests"], page["keys"]["key"][0]
    numbers = re.search(r"([\d,]+) requests\b(?!/)", text)
    names = re.search(r"(?:user|session|item):[\d:a-z]+", text)
    assert numbers is not None
    assert names is not None
    return int(numbers[1].replace(",", "")), names[0]


def test_redacted_names_and_the_key_are_nowhere(busy: Lab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    options = on_lab(busy, *HOSTS, "--output", "json", "--html", str(page), "--redact=template", "-v")
    with Watch([SECRET]) as watch, Command(["run", *options], variables={"FLEETTRACE_REDACT_KEY": SECRET}) as command:
        done = command.finish()
    assert done.status == 0
    # /proc shows the environment that a process was started with, even after it has deleted a variable.
    assert {leak.split(":")[0] for leak in watch.leaks} == {f"{command.pid} environ"}
    shown = done.out.decode() + done.err + page.read_text()
    assert not re.search(r"(user|session|item):\d{1,4}\b(?!:\d)", shown)
    assert SECRET not in shown
    assert re.fullmatch(r"user:[0-9a-f]{16}:profile", done.report["keys"][0]["key"])
    assert "user:{}:profile" in [row["template"] for row in done.report["templates"]]
