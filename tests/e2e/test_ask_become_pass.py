"""`-K`: the user types sudo's password once, no output shows it, and every host without its own password uses it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from tests.e2e.command import environment, on_lab
from tests.e2e.secret_watch import Watch

pytestmark = pytest.mark.lab


def typed(arguments: list[str], password: str) -> tuple[int, bytes, str]:
    """Run a command on its own terminal and type a password. Return its exit code, stdout, and what was shown."""
    controller, follower = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "fleettrace", *arguments],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment(),
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    try:
        assert command.stdout is not None
        while b"BECOME password: " not in shown:
            shown += os.read(controller, 1024)
        os.write(controller, f"{password}\n".encode())
        out = command.stdout.read()
        status = command.wait(60)
        while True:
            try:
                data = os.read(controller, 1024)
            except OSError:
                break
            if not data:
                break
            shown += data
    finally:
        command.kill()
        command.wait()
        os.close(controller)
    return status, out, shown.decode()


def test_password_is_requested_once_and_never_shown(lab: Lab, tmp_path: Path) -> None:
    layout = yaml.safe_load(lab.inventory.read_text())
    hosts = layout["all"]["hosts"]
    password = hosts["password"].pop("ansible_become_password")
    inventory = tmp_path / "inventory.yaml"
    chosen = {name: hosts[name] | {"fleettrace_scope": "netns"} for name in ("password", "plain")}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": chosen}}))
    log = tmp_path / "log"
    options = ["-i", str(inventory), "--ssh-config", str(lab.ssh_config), "-K", "-v", "--log", str(log)]
    with Watch([password]) as watch:
        status, out, shown = typed(["check", *options, "--output", "json"], password)
    assert status == 0
    assert [host["state"] for host in json.loads(out)["hosts"]] == ["ok", "ok"]
    assert shown.count("BECOME password: ") == 1
    assert watch.leaks == []
    assert all(password not in text for text in (out.decode(), shown, log.read_text()))


def test_ask_become_pass_needs_a_terminal(lab: Lab) -> None:
    command = [sys.executable, "-m", "fleettrace", "check", *on_lab(lab, "-K")]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 2
    assert "--ask-become-pass" in done.stderr
