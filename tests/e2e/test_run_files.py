"""A run file reproduces the run's report; a killed run leaves none; shards merge into one fleet."""

from __future__ import annotations

import gzip
import signal
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from tests.e2e.command import Command, on_lab, run
from tests.e2e.fleet import plan_for

pytestmark = pytest.mark.lab

HOSTS = ("plain", "two", "password")


def test_report_of_a_run_file_equals_the_run(lab: Lab, tmp_path: Path) -> None:
    run_file = tmp_path / "run"
    hosts = ["--hosts", ",".join((*HOSTS, "refused")), "--duration", "6s", "--top", "1000", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab, *hosts, "--save", str(run_file))]) as command:
        command.wait_for_trace(*HOSTS)
        truth = lab.send({one: plan_for(one) for one in lab.instances(*HOSTS)})
        done = command.finish()
    again = run("report", str(run_file), "--top", "1000", "--output", "json")
    assert (done.status, again.status) == (3, 0)
    assert again.report == done.report
    assert again.report["totals"]["requests"] == sum(truth.total(host) for host in HOSTS)
    assert list(tmp_path.iterdir()) == [run_file]
    password = lab.inventory.read_text().partition("ansible_become_password: ")[2].split()[0]
    assert password.encode() not in gzip.decompress(run_file.read_bytes())


def test_killed_controller_leaves_no_run_file(lab: Lab, tmp_path: Path) -> None:
    options = ["--hosts", "plain,empty", "--duration", "30s", "-v", "--save", str(tmp_path / "run")]
    with Command(["run", *on_lab(lab, *options)]) as command:
        command.wait_for(["empty: no-instances", "plain: trace"])
        command.signal(signal.SIGKILL)
        command.finish()
    assert not (tmp_path / "run").exists()


def test_interrupted_run_is_saved(lab: Lab, tmp_path: Path) -> None:
    run_file = tmp_path / "run"
    with Command(
        ["run", *on_lab(lab, "--hosts", "plain", "--duration", "30s", "-v", "--save", str(run_file))]
    ) as command:
        command.wait_for_trace("plain")
        command.signal(signal.SIGTERM)
        assert command.finish().status == 143
    assert run("report", str(run_file), "--output", "json").host("plain")["state"] == "interrupted"


def test_shards_merge_into_the_fleet(lab: Lab, tmp_path: Path) -> None:
    files = [str(tmp_path / part) for part in "12"]
    hosts = ["--hosts", ",".join((*HOSTS, "refused", "empty")), "--duration", "1s", "-q"]
    for part, file in zip("12", files, strict=True):
        done = run("run", *on_lab(lab, *hosts, "--shard", f"{part}/2", "--save", file, "--output", "json"))
        assert done.status in (0, 3, 4)
    merged = run("merge", *files, "--output", "json")
    states = {host["host"]: host["state"] for host in merged.report["hosts"]}
    assert merged.status == 3
    assert states == {**dict.fromkeys(HOSTS, "ok"), "refused": "become-failed", "empty": "no-instances"}
