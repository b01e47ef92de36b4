"""The role that installs bpftrace, on this machine in Ansible's check mode or with a stand-in for zypper."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e.command import REPOSITORY, environment

COLLECTIONS = REPOSITORY / "integrations" / "ansible"
ROLE = COLLECTIONS / "ansible_collections/fleettrace/fleettrace/roles/bpftrace"
# SUSE cannot run here, and Debian's zypper has no repository. This one answers as zypper 1.14 does.
ZYPPER = """#!/bin/sh
echo "$*" >>"$0.calls"
case " $* " in *installed*) echo "Nothing to do." ;; esac
"""

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return a function that runs the role on this machine as if it had the package manager `manager`."""
    config = tmp_path / "ansible.cfg"
    config.touch()
    program = tmp_path / "zypper"
    program.write_text(ZYPPER)
    program.chmod(0o755)

    def run(manager: str, *words: str, **variables: object) -> subprocess.CompletedProcess[str]:
        playbook = tmp_path / "play.yml"
        pretend = {"name": "Pretend", "ansible.builtin.set_fact": {"pkg_mgr": manager, "cacheable": True}}
        path = "{{ lookup('env', 'PATH') }}"
        role = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "environment": {"PATH": f"{tmp_path}:{path}"},
            "vars": {"ansible_python_interpreter": "/usr/bin/python3", **variables},
            "pre_tasks": [pretend],
            "roles": ["fleettrace.fleettrace.bpftrace"],
        }
        playbook.write_text(yaml.safe_dump([role]))
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(playbook), *words]
        settings = environment(
            ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
            ANSIBLE_CONFIG=str(config),
            ANSIBLE_HOME=str(tmp_path / "home"),
            ANSIBLE_NOCOLOR="1",
        )
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("manager", ["apt", "dnf", "dnf5", "zypper"])
def test_role_passes_the_syntax_check(play: Play, manager: str) -> None:
    done = play(manager, "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_included_task_file_is_valid() -> None:
    names = {path.name for path in (ROLE / "tasks").iterdir()}
    included = yaml.safe_load((ROLE / "tasks/main.yml").read_text())[2]["vars"]["bpftrace_tasks"]
    assert names == {"main.yml", *included.values()}
    for name in names:
        assert all("name" in task for task in yaml.safe_load((ROLE / "tasks" / name).read_text()))


def test_zypper_installs_the_package(play: Play, tmp_path: Path) -> None:
    done = play("zypper")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "zypper.calls").read_text() == "--non-interactive install --no-recommends -- bpftrace\n"
    assert "changed=1" in done.stdout


def test_zypper_changes_nothing_when_installed(play: Play, tmp_path: Path) -> None:
    done = play("zypper", "--check", bpftrace_packages=["installed"])
    assert done.returncode == 0, done.stdout + done.stderr
    calls = (tmp_path / "zypper.calls").read_text()
    assert calls == "--non-interactive install --no-recommends --dry-run -- installed\n"
    assert "changed=0" in done.stdout


def test_unknown_package_manager_is_named(play: Play) -> None:
    done = play("pacman")
    assert done.returncode == 2
    assert "localhost: the package manager pacman is not apt, dnf or zypper" in " ".join(done.stdout.split())
