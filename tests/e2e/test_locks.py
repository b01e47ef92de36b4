"""Two runs at once: the second names the first and ends with 75, unless `--name` gives it another name."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from tests.e2e.command import Command, on_lab, run

pytestmark = pytest.mark.lab


def test_second_run_names_the_first_and_is_75(lab: Lab) -> None:
    options = ["run", *on_lab(lab, "--hosts", "plain", "--output", "json", "-v")]
    with Command([*options, "--duration", "60s"]) as first:
        first.wait_for_trace("plain")
        refused = run(*options, "--duration", "1s", "-q")
        assert (refused.status, refused.out) == (75, b"")
        again = [run(*options, "--duration", "1s", *more) for more in (("-q",), ("-q",), ())]
        assert [(one.status, one.err == "") for one in again] == [(75, True), (75, True), (75, False)]
        assert all(value in refused.err for value in (str(lab.inventory), str(first.pid), "--duration 60s"))
        named = run(*options, "--duration", "1s", "--name", "another")
        assert (named.status, named.host("plain")["state"]) == (0, "ok")
        first.signal(signal.SIGINT)
        assert first.finish().status == 130
    assert run(*options, "--duration", "1s").status == 0


def test_killed_run_releases_its_lock(lab: Lab) -> None:
    options = ["run", *on_lab(lab, "--hosts", "plain", "--output", "json", "-v")]
    with Command([*options, "--duration", "60s"]) as first:
        first.wait_for_trace("plain")
        first.signal(signal.SIGKILL)
        first.finish()
    assert run(*options, "--duration", "1s").status == 0


def test_splay_is_waited_for_and_quiet_is_silent(lab: Lab, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["run", *on_lab(lab, "--hosts", "plain", "--duration", "1s", "--splay", "500ms", "--output", "json")]
    quiet = run(*options, "-q", "-o", str(report))
    assert (quiet.status, quiet.out, quiet.err) == (0, b"", "")
    assert json.loads(report.read_text())["hosts"][0]["state"] == "ok"
    assert "--splay" in run(*options).err


def test_quiet_run_prints_failed_hosts(lab: Lab, tmp_path: Path) -> None:
    options = on_lab(lab, "--hosts", "plain,closed,stranger", "--duration", "1s", "--retries", "0", "--min-ok", "0")
    done = run("run", *options, "-q", "-o", str(tmp_path / "report.txt"))
    assert done.status == 3
    assert [" ".join(line.split()[:3]) for line in done.err.splitlines()] == [
        "fleettrace: closed: unreachable:",
        "fleettrace: stranger: auth-failed:",
    ]


def test_log_has_every_event_and_no_secret(lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = on_lab(lab, "--hosts", "password,closed", "--duration", "1s", "--retries", "1", "--log", str(log))
    assert run("run", *options, "-q", "-o", str(tmp_path / "report.txt")).status == 3
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = {name: [line["event"] for line in lines if line.get("host") == name] for name in ("password", "closed")}
    assert events["closed"] == ["host.started", "host.progressed", "host.retried", "host.progressed", "host.failed"]
    assert [name for name in dict.fromkeys(events["password"]) if name != "host.progressed"] == [
        "host.started",
        "instance.started",
        "slice.finished",
        "instance.finished",
        "host.finished",
    ]
    password = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"]["password"]["ansible_become_password"]
    assert password not in log.read_text()
