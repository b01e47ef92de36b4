"""`--resume` completes a run: it traces only the failed host, and one report and one file have all hosts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.truth import TracedInstance
from tests.e2e.command import Command, on_lab, run
from tests.e2e.fleet import keys_of, plan_for

pytestmark = pytest.mark.lab

PLAIN, VICTIM = TracedInstance("plain", 11211), TracedInstance("victim", 11211)
JSON = ("--output", "json")


def test_resume_sweeps_only_failed_hosts(lab: Lab, tmp_path: Path) -> None:
    run_file, log = tmp_path / "run", tmp_path / "log"
    options = ["--hosts", "victim,plain", "--duration", "8s", "--connect-timeout", "3s", "--top", "1000", "-v", *JSON]
    lab.hosts["victim"].cut_network()
    try:
        with Command(["run", *on_lab(lab, *options, "--save", str(run_file))]) as command:
            command.wait_for_trace("plain")
            truth = lab.send({PLAIN: plan_for(PLAIN, commands=200, hostile=False)})
            first = command.finish()
    finally:
        lab.hosts["victim"].restore_network()
    assert (first.status, first.host("victim")["state"]) == (3, "unreachable")

    listed = run("hosts", "-i", str(lab.inventory), "--limit", f"@{run_file}/failed", "-q")
    assert (listed.status, listed.out) == (0, b"victim\n")

    again = ["run", *on_lab(lab, "--resume", str(run_file), "--top", "1000", "-v", *JSON)]
    with Command([*again, "--log", str(log)]) as command:
        command.wait_for_trace("victim")
        truth = truth + lab.send({VICTIM: plan_for(VICTIM, commands=200, hostile=False)})
        second = command.finish()
    assert second.status == 0
    assert second.report["run"]["id"] == first.report["run"]["id"]
    assert [(host["host"], host["state"]) for host in second.report["hosts"]] == [("victim", "ok"), ("plain", "ok")]
    assert [second.host(name)["requests"] for name in ("plain", "victim")] == [
        truth.total("plain"),
        truth.total("victim"),
    ]
    assert keys_of(second.report["keys"]) == truth.by_key()
    assert {line.get("host") for line in map(json.loads, log.read_text().splitlines())} == {None, "victim"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "run"]

    third = run(*again)
    assert third.status == 0
    assert third.report["keys"] == second.report["keys"]
    assert run("merge", str(run_file), *JSON).report["hosts"] == second.report["hosts"]
