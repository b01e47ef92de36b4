"""A sweep with the system's `ssh`: the same numbers and error codes, and nothing left on either side."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import wait_until
from tests.e2e.command import Command
from tests.e2e.fleet import FAILING, keys_of, plan_for, wait_until_untraced
from tests.e2e.secret_watch import Watch
from tests.transport.openssh_remains import private_directory, users_of

pytestmark = pytest.mark.lab

HEALTHY = ("plain", "two", "sudo", "password")
BEHIND, BASTION = "two", "plain"
FAULTY = ("unknown", "changed", "closed", "down", "stranger", "wrong-password")


@pytest.fixture
def options(lab: Lab, tmp_path: Path) -> list[str]:
    """Return the options of a run with `ssh`, with one host behind a bastion."""
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host {lab.hosts[BEHIND].address}\n  ProxyJump root@{lab.hosts[BASTION].address}\n"
        f"Host *\n{lab.ssh_config.read_text()}"
    )
    return ["-i", str(lab.inventory), "--ssh-config", str(config), "--transport", "openssh", "--output", "json", "-v"]


def test_sweep_counts_exactly_and_reports_failures(lab: Lab, options: list[str]) -> None:
    hosts = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"].values()
    secrets = [host["ansible_become_password"] for host in hosts if "ansible_become_password" in host]
    sweep = ["--hosts", ",".join((*HEALTHY, *FAULTY)), "--duration", "6s", "--top", "10000", "--connect-timeout", "30s"]
    with Watch(secrets) as watch, Command(["run", *options, *sweep]) as command:
        command.wait_for_trace(*HEALTHY)
        directory = private_directory(command.pid)
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*HEALTHY)})
        done = command.finish()
    assert keys_of(done.report["keys"]) == truth.by_key()
    for name in HEALTHY:
        assert done.host(name)["state"] == "ok"
        assert done.host(name)["requests"] == truth.total(name)
    for name in FAULTY:
        state, code, _ = FAILING[name]
        host = done.host(name)
        assert (host["state"], host["error"]["code"]) == (state, code)
    assert done.status == 4
    assert watch.leaks == []
    assert not directory.exists()
    assert users_of(directory) == []


@contextmanager
def tracing(options: list[str]) -> Iterator[tuple[Command, Path]]:
    """Yield a run with a window of a minute, after counting has begun, and its private directory."""
    with Command(["run", *options, "--hosts", ",".join(HEALTHY), "--duration", "60s", "--top", "1000"]) as command:
        command.wait_for_trace(*HEALTHY)
        yield command, private_directory(command.pid)


def check_gone(lab: Lab, directory: Path) -> None:
    wait_until_untraced(lab, *HEALTHY)
    wait_until(
        lambda: not directory.exists() and not users_of(directory),
        f"{users_of(directory)} or the directory remains",
        seconds=5,
        pause=0.1,
    )


def test_ctrl_c_reports_counts_and_leaves_nothing(lab: Lab, options: list[str]) -> None:
    with tracing(options) as (command, directory):
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*HEALTHY)})
        command.signal(signal.SIGINT)
        done = command.finish()
    assert done.status == 130
    assert keys_of(done.report["keys"]) == truth.by_key()
    check_gone(lab, directory)


def test_killed_controller_leaves_nothing(lab: Lab, options: list[str]) -> None:
    with tracing(options) as (command, directory):
        assert len(list(directory.glob("s*"))) == len(HEALTHY)
        command.signal(signal.SIGKILL)
        check_gone(lab, directory)


def test_controller_killed_during_the_login_leaves_nothing(lab: Lab, options: list[str]) -> None:
    hosts = ["--hosts", f"mute,{BEHIND}", "--connect-timeout", "60s"]
    with Command(["run", *options, *hosts, "--duration", "60s"]) as command:
        command.wait_for_trace(BEHIND)
        directory = private_directory(command.pid)
        command.signal(signal.SIGKILL)
        wait_until(
            lambda: not directory.exists() and not users_of(directory),
            "ssh processes or their directory remain",
            seconds=5,
            pause=0.1,
        )
    wait_until_untraced(lab, *HEALTHY)
