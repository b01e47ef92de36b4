"""The exit codes, and stdout with nothing but the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from tests.e2e.command import environment, on_lab, run

pytestmark = pytest.mark.lab

SHORT = ("--duration", "1s", "--output", "json")


def test_all_traced_is_0_and_quiet_prints_nothing(lab: Lab, tmp_path: Path) -> None:
    place = tmp_path / "report.json"
    place.write_text("the old report")
    done = run("run", *on_lab(lab, "--hosts", "plain,empty", *SHORT, "-q", "-o", str(place)))
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert [host["state"] for host in json.loads(place.read_text())["hosts"]] == ["ok", "no-instances"]
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(("share", "status"), [("50%", 3), ("51%", 4)])
def test_some_failed_is_3_and_too_many_4(lab: Lab, share: str, status: int) -> None:
    done = run("run", *on_lab(lab, "--hosts", "plain,closed", *SHORT, "--min-ok", share))
    assert done.status == status
    assert [host["state"] for host in done.report["hosts"]] == ["ok", "unreachable"]


def test_nothing_to_report_is_4(lab: Lab) -> None:
    done = run("run", *on_lab(lab, "--hosts", "empty", *SHORT))
    assert done.status == 4
    assert done.report["totals"]["requests"] in (None, 0)


def test_closed_stdout_is_no_crash(lab: Lab) -> None:
    command = [sys.executable, "-m", "fleettrace", "run", *on_lab(lab, "--hosts", "plain", *SHORT)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        printed = process.stderr.read()
        assert process.wait(timeout=60) in (0, 2)
    assert "Traceback" not in printed
    assert "BrokenPipe" not in printed


def test_missing_output_directory_is_2_before_the_sweep(lab: Lab, tmp_path: Path) -> None:
    done = run("run", *on_lab(lab, "--hosts", "plain", "-o", str(tmp_path / "nowhere/report.json")))
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert f"{tmp_path}/nowhere/report.json" in done.err


def test_check_plans_and_traces_nothing(lab: Lab) -> None:
    done = run("check", *on_lab(lab, "--hosts", "two,closed,empty", "--duration", "60s"))
    assert done.status == 3
    lines = done.out.decode().splitlines()
    assert sum(line.startswith("two  pid ") for line in lines) == 2
    assert all("item by" in line for line in lines if line.startswith("two"))
    assert any(line.startswith("closed  unreachable: ") for line in lines)
    assert any(line.startswith("empty  no-instances") for line in lines)
