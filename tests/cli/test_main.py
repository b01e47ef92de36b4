"""The command as a process: quick to help, plain about what is wrong, silent when its reader leaves."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "fleettrace")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment without a user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETTRACE_")}
    return {**kept, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}


def run(environ: dict[str, str], directory: Path, *arguments: str, data: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=data,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=directory,
        env=environ,
    )


def inventory(directory: Path, hosts: str = "a:\n    b:\n") -> Path:
    place = directory / "fleet.yaml"
    place.write_text(f"all:\n  hosts:\n    {hosts}")
    return place


def test_help_is_quick(environ: dict[str, str], tmp_path: Path) -> None:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        done = run(environ, tmp_path, "--help")
        times.append(time.perf_counter() - begun)
        assert done.returncode == 0
        assert "exit codes" in done.stdout
    # 0.15 s on a quiet machine; this one may be busy.
    assert statistics.median(times) < 0.75


@pytest.mark.parametrize("command", ["--help", "hosts"])
def test_commands_import_only_what_they_use(environ: dict[str, str], tmp_path: Path, command: str) -> None:
    arguments = [command] if command == "--help" else [command, "-i", str(inventory(tmp_path))]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fleettrace", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"fabric", "paramiko", "rich", "capstone", "elftools"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--nonsense"], "unknown option --nonsense"),
        (["run", "--duration", "soon"], "--duration: 'soon' is not a duration"),
        (["hosts"], "no inventory: name one with -i FILE, FLEETTRACE_INVENTORY or ansible.cfg"),
        (["hosts", "-i", "nowhere.yaml"], "nowhere.yaml"),
        (["plan", "-i", "fleet.yaml", "--hosts", "nobody"], "nobody"),
        (["run", "-i", "fleet.yaml", "--limit", "nobody"], "nobody"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    environ: dict[str, str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    inventory(tmp_path)
    done = run(environ, tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("fleettrace: ")
    assert words in line


@pytest.mark.parametrize(
    ("hosts", "line", "words"),
    [
        ("a: [\n", 4, ""),
        ("a:\n      fleettrace_scoop: host\n", 4, "did you mean fleettrace_scope?"),
        ("a:\n      ansible_port: ssh\n", 4, "ansible_port"),
        ("a:\n      fleettrace_scope: galaxy\n", 4, "fleettrace_scope"),
    ],
)
def test_a_bad_inventory_is_named_with_its_line(
    environ: dict[str, str], tmp_path: Path, hosts: str, line: int, words: str
) -> None:
    place = inventory(tmp_path, hosts)
    done = run(environ, tmp_path, "hosts", "-i", str(place))
    assert done.returncode == 2
    [printed] = done.stderr.splitlines()
    assert printed.startswith(f"fleettrace: {place}:{line}: ")
    assert words in printed


def test_hosts_shows_variables_and_no_secrets(environ: dict[str, str], tmp_path: Path) -> None:
    place = inventory(tmp_path, "a:\n      ansible_port: 2222\n      ansible_become_password: hunter2\n")
    done = run(environ, tmp_path, "hosts", "-i", str(place))
    assert done.returncode == 0
    assert done.stdout.startswith("a ")
    assert "ansible_port=2222" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert run(environ, tmp_path, "hosts", "-q", "-i", str(place)).stdout == "a\n"


def test_the_inventory_may_come_on_standard_input(environ: dict[str, str], tmp_path: Path) -> None:
    listing = '{"all": {"hosts": ["a", "b"]}, "_meta": {"hostvars": {"a": {"ansible_port": 7}}}}'
    done = run(environ, tmp_path, "hosts", "-i", "-", "-q", data=listing)
    assert (done.returncode, done.stdout) == (0, "a\nb\n")


def test_plan_shows_the_program_without_connecting(environ: dict[str, str], tmp_path: Path) -> None:
    place = inventory(tmp_path, "a:\n      ansible_host: 192.0.2.1\n")
    done = run(environ, tmp_path, "plan", "-i", str(place), "--duration", "7s")
    assert (done.returncode, done.stderr) == (0, "")
    assert "# 1 host, 1 at a time, 7 s each" in done.stdout
    assert "a: ssh root@192.0.2.1, root by sudo unless root already: bpftrace - <PROGRAM" in done.stdout
    assert "uprobe:/proc/4711/exe:do_item_get" in done.stdout
    assert "$" + "{" not in done.stdout


def test_closed_pipe_is_one_line_and_exit_2(environ: dict[str, str], tmp_path: Path) -> None:
    place = inventory(tmp_path, "cache-[00001:20000]:\n")
    script = f'{sys.executable} -m fleettrace hosts -i {place} | head -n 1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environ, check=True, timeout=60)
    assert done.stdout.splitlines() == ["cache-00001", "2"]
    assert done.stderr == "fleettrace: standard output: its reader has gone, so the rest is not written\n"


def test_version_is_printed(environ: dict[str, str], tmp_path: Path) -> None:
    assert run(environ, tmp_path, "--version").stdout.startswith("fleettrace 0.")
