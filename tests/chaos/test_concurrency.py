"""Many at once: a thousand hosts that refuse connections, a full sshd, and concurrent runs on the same hosts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.fleet import Lab
from tests.e2e.command import Command, environment, on_lab, run
from tests.e2e.fleet import keys_of, plan_for
from tests.e2e.local import served
from tests.transport.sshd import running_sshd

pytestmark = pytest.mark.lab

REFUSING = 1000
DROPPED = 32


def read_status(pid: int) -> str:
    """Return /proc/PID/status, or an empty text after the process has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text()
    return ""


def test_refused_connections_of_1000_hosts_are_one_line(tmp_path: Path) -> None:
    hosts = {
        f"cache-{number:04}": {"ansible_host": f"127.1.{number // 250}.{number % 250 + 1}", "ansible_port": 1}
        for number in range(REFUSING)
    }
    inventory, report = tmp_path / "inventory.yaml", tmp_path / "report.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    options = [
        "--forks",
        "64",
        "--retries",
        "1",
        "--connect-timeout",
        "60s",
        "-q",
        "--output",
        "json",
        "-o",
        str(report),
        "--no-store",
    ]
    begun = time.monotonic()
    command = subprocess.Popen(
        [sys.executable, "-m", "fleettrace", "run", "-i", str(inventory), *options],
        env=environment(),
        stderr=subprocess.PIPE,
    )
    peak_kb = 0
    while (ended := os.wait4(command.pid, os.WNOHANG))[0] == 0:
        # ru_maxrss would begin with the parent's memory (setmax_mm_hiwater_rss in the kernel's exec).
        peak_kb = max([peak_kb, *map(int, re.findall(r"VmHWM:\s*(\d+)", read_status(command.pid)))])
        time.sleep(0.02)
    _, status, used = ended
    took = time.monotonic() - begun
    assert command.stderr is not None
    lines = command.stderr.read().decode().splitlines()
    command.stderr.close()
    assert os.waitstatus_to_exitcode(status) == 4
    assert len(lines) == 1
    assert lines[0].startswith("fleettrace: cache-[0000-0999]: unreachable: ")
    states = Counter((host["state"], host["error"]["code"]) for host in json.loads(report.read_bytes())["hosts"])
    assert states == {("unreachable", "connection-refused"): REFUSING}
    assert 0 < peak_kb < 120 << 10
    assert used.ru_utime + used.ru_stime < 15
    assert took < 120, "an idle machine takes less than ten seconds"


def test_logins_dropped_by_maxstartups_are_retried_apart(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with (
        running_sshd(tmp_path / "sshd", "root", "MaxStartups 2:100:3") as sshd,
        served(tmp_path, memcached_binary()) as memcached,
    ):
        host = {
            "ansible_host": "127.0.0.1",
            "ansible_port": sshd.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(sshd.key_file),
            "fleettrace_scope": "netns",
            "fleettrace_instances": [memcached.port],
        }
        inventory, config, log = tmp_path / "inventory.json", tmp_path / "config", tmp_path / "log"
        inventory.write_text(json.dumps({"all": {"hosts": {f"cache-[01:{DROPPED}]": host}}}))
        config.write_text(f"Host *\n  UserKnownHostsFile {sshd.known_hosts}\n")
        options = ["-i", str(inventory), "--ssh-config", str(config), "--log", str(log), "--output", "json"]
        done = run("check", *options, "--forks", str(DROPPED), "--retries", "10")
    assert done.status == 0
    # All names lead to one machine; the first host that finds its memcached counts it.
    states = Counter(each["state"] for each in done.report["hosts"])
    assert states == {"ok": 1, "no-instances": DROPPED - 1}
    retried = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "host.retried"]
    assert retried, "sshd dropped nothing, so this test shows nothing"
    assert {line["code"] for line in retried} == {"banner-closed"}
    pauses = [line["pause_s"] for line in retried if line["attempt"] == 1]
    assert len(set(pauses)) > len(pauses) * 0.9
    assert max(pauses) - min(pauses) > 0.5


def test_concurrent_runs_count_the_same_despite_a_kill(lab: Lab) -> None:
    hosts = ("steady", "secret")
    options = ["run", *on_lab(lab, "--hosts", ",".join(hosts), "--top", "10000", "--output", "json", "-v")]
    with (
        Command([*options, "--duration", "8s"]) as one,
        Command([*options, "--duration", "8s", "--name", "another"]) as another,
        Command([*options, "--duration", "60s", "--name", "doomed"]) as doomed,
    ):
        for command in (one, another, doomed):
            command.wait_for_trace(*hosts)
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*hosts)})
        doomed.signal(signal.SIGKILL)
        doomed.finish()
        truth = truth + lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*hosts)})
        for command in (one, another):
            assert not command.has_finished(*hosts), "the traffic outlasted the window"
        ends = [command.finish() for command in (one, another)]
    for done in ends:
        assert done.status == 0
        assert keys_of(done.report["keys"]) == truth.by_key()
        assert [host["requests"] for host in done.report["hosts"]] == [truth.total(name) for name in hosts]
