"""Audits under Debian's cron, which mails their output: findings and errors, and nothing else."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import Profile
from fleettrace.lab.truth import TracedInstance
from tests.e2e.command import REPOSITORY, on_lab
from tests.e2e.cron_daemon import Cron

pytestmark = [pytest.mark.lab, pytest.mark.slow]

RULES = {"quiet": "key.share > 95%", "loud": "key.share > 30%", "wrong": "key.shre > 30%"}


def audits(lab: Lab, directory: Path) -> dict[str, str]:
    """Write a playbook for each rule; return the crontab commands that run them."""
    lines = {}
    for name, rule in RULES.items():
        play = {"name": "fleet", "hosts": "plain", "sweep": {"duration": "2s"}, "rules": [rule]}
        playbook = directory / f"{name}.yaml"
        playbook.write_text(yaml.safe_dump([play]))
        options = on_lab(lab, "--store", str(directory / "history.db"))
        command = shlex.join([sys.executable, "-m", "fleettrace", "play", *options, str(playbook)])
        lines[name] = f"{command}; echo $? >{directory / name}.code"
    return lines


def test_cron_mails_only_findings_and_errors(lab: Lab, tmp_path: Path) -> None:
    lines = audits(lab, tmp_path)
    head = f"MAILTO=oncall@example.com\nPYTHONPATH={REPOSITORY}\n"
    crontab = head + "".join(f"* * * * * root {line}\n" for line in lines.values())
    codes = {name: tmp_path / f"{name}.code" for name in lines}
    instance = TracedInstance("plain", 11211)
    flow = Flow(instance, lab.hosts["plain"].address, Profile(hot={b"hot:\xff": 0.6}), 500)
    load = lab.start_load([flow], 110)
    try:
        with Cron(tmp_path, crontab) as cron:
            cron.wait_for(list(codes.values()), seconds=100)
            mails = cron.mails()
        assert {name: int(file.read_text()) for name, file in codes.items()} == {"quiet": 0, "loud": 1, "wrong": 2}
        assert len(mails) == 2, "the quiet audit prints nothing"
        assert all("oncall@example.com" in arguments for arguments, _ in mails)
        wrong, loud = sorted(mails, key=lambda mail: "FINDINGS" in mail[1] or "loud" in mail[1])
        assert "key.shre" in wrong[1]
        assert "key.share" in wrong[1]
        assert r"hot:\xff" in loud[1]
        again = subprocess.run(
            ["sh", "-c", lines["loud"]], capture_output=True, check=True, env={"PYTHONPATH": str(REPOSITORY)}
        )
        assert (again.stdout, again.stderr, codes["loud"].read_text()) == (b"", b"", "1\n"), (
            "the finding is no longer new"
        )
    finally:
        load.kill()
