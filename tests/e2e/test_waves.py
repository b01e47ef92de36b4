"""Waves on real hosts: a failed canary skips the rest, and logins that a full sshd drops are retried."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from tests.e2e.command import on_lab, run
from tests.transport.sshd import running_sshd

pytestmark = pytest.mark.lab

SHORT = ("--duration", "1s", "--output", "json")
HOSTS = 12


def test_failed_canary_skips_the_rest(lab: Lab) -> None:
    options = ["--hosts", "closed,plain,two", "--serial", "1,100%", "--retries", "0"]
    done = run("run", *on_lab(lab, *options, *SHORT))
    assert done.status == 4
    hosts = {host["host"]: host for host in done.report["hosts"]}
    assert {name: host["state"] for name, host in hosts.items()} == {
        "closed": "unreachable",
        "plain": "skipped",
        "two": "skipped",
    }
    assert {hosts[name]["error"]["code"] for name in ("plain", "two")} == {"max-fail"}
    assert len([line for line in done.err.splitlines() if "skipped" in line]) == 1


def test_successful_waves_are_one_report(lab: Lab) -> None:
    done = run("run", *on_lab(lab, "--hosts", "plain,two,empty", "--serial", "1,100%", *SHORT))
    assert done.status == 0
    assert [(host["host"], host["state"]) for host in done.report["hosts"]] == [
        ("plain", "ok"),
        ("two", "ok"),
        ("empty", "no-instances"),
    ]


def test_max_fail_skips_the_rest(lab: Lab) -> None:
    options = ["--hosts", "closed,plain,two", "--forks", "1", "--max-fail", "0", "--retries", "0"]
    done = run("run", *on_lab(lab, *options, *SHORT))
    assert done.status == 4
    assert [host["state"] for host in done.report["hosts"]] == ["unreachable", "skipped", "skipped"]
    assert done.host("two")["error"]["code"] == "max-fail"


@pytest.fixture(scope="module")
def full_sshd() -> Iterator[Path]:
    """Yield an inventory of many names for one sshd that accepts two logins at once."""
    with tempfile.TemporaryDirectory(prefix="fleettrace-full-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with running_sshd(directory / "sshd", "root", "MaxStartups 2:100:2") as sshd:
            host = {
                "ansible_host": "127.0.0.1",
                "ansible_port": sshd.port,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(sshd.key_file),
                "fleettrace_scope": "netns",
                "fleettrace_instances": [1],
            }
            inventory = directory / "inventory.yaml"
            inventory.write_text(json.dumps({"all": {"hosts": {f"cache-[01:{HOSTS}]": host}}}))
            (directory / "config").write_text(f"Host *\n  UserKnownHostsFile {sshd.known_hosts}\n")
            yield inventory


def check(inventory: Path, retries: int) -> list[str]:
    """Check all hosts at once and return their states."""
    options = ["-i", str(inventory), "--ssh-config", str(inventory.with_name("config")), "--output", "json"]
    done = run("check", *options, "--forks", str(HOSTS), "--retries", str(retries))
    assert {host["error"]["code"] for host in done.report["hosts"] if host["error"]} <= {"banner-closed"}
    return [host["state"] for host in done.report["hosts"]]


def test_connections_dropped_by_sshd_are_retried(full_sshd: Path) -> None:
    assert "unreachable" in check(full_sshd, 0), "sshd dropped nothing, so this test shows nothing"
    assert check(full_sshd, 10) == ["no-instances"] * HOSTS


def test_refused_connections_of_1000_hosts_are_one_line(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yaml"
    refusing = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "root"}
    inventory.write_text(json.dumps({"all": {"hosts": {"cache-[0001:1000]": refusing}}}))
    done = run("run", "-i", str(inventory), "-q", "--retries", "1", "--output", "json")
    assert done.status == 4
    assert [host["error"]["code"] for host in done.report["hosts"]] == ["connection-refused"] * 1000
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("fleettrace: cache-[0001-1000]: unreachable: ")
