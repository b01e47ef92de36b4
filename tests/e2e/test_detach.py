"""One window for the whole fleet: detached traces begin together, without SSH sessions, and are collected later."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from fleettrace.errors import FleettraceError
from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import Truth
from fleettrace.sweep.detach_file import read_detached_run
from fleettrace.sweep.detached import AFTER_S
from fleettrace.sweep.events import Phase
from tests.e2e.command import Command, on_lab, run
from tests.e2e.fleet import command_of, keys_of, plan_for, tracers, wait_until_untraced

pytestmark = pytest.mark.lab

HOSTS = ("plain", "two", "container", "sudo", "password")
DIRECTORIES = ("/run", "/dev/shm")


def directories(lab: Lab) -> list[Path]:
    """Return the trace directories of the lab's memcached instances. The lab's hosts share them with the machine."""
    ours = {str(pid) for host in lab.hosts.values() for pid in host.pids.values()}
    found = []
    for directory in (path for parent in DIRECTORIES for path in Path(parent).glob("fleettrace-????????????")):
        with suppress(OSError):
            named = re.search(r"^pids='?([\d ]+)", (directory / "script").read_text(), re.MULTILINE)
            found += [directory] if named and ours & set(named[1].split()) else []
    return found


def remains(lab: Lab) -> list[str]:
    """Return what a run has not removed from the lab's hosts: sessions, traces, directories."""
    found = [str(directory) for directory in directories(lab)]
    for name in (*HOSTS, "victim"):
        host = lab.hosts[name]
        ours = {*host.pids.values(), *(one.launcher.pid for one in host.instances if one.launcher)}
        ours |= {host.sshd.pid} if host.sshd else set()
        found += [f"{name}: {command_of(one.pid)}" for one in host.processes() if one.pid not in ours]
    return found


def check_gone(lab: Lab, seconds: float = 10.0) -> None:
    """Assert that a run's remains are removed within `seconds`."""
    with suppress(FleettraceError):
        wait_until(lambda: not remains(lab), "the hosts are not clean", seconds=seconds, pause=0.1)
    assert remains(lab) == []


def send(lab: Lab, *hosts: str) -> Truth:
    return lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*hosts)})


def wait_for_window(run_file: Path) -> None:
    """Wait until a run's window has begun, according to the file beside its run file."""
    traces = read_detached_run(run_file.with_name(f"{run_file.name}.left")).pending.values()
    begins = max(trace.ends - AFTER_S - trace.bounds.duration_s for trace in traces)
    time.sleep(max(0.0, begins + 0.3 - time.time()))


def seconds_of(log: Path, event: str) -> dict[str, object]:
    (line,) = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == event]
    return dict(line)


def test_windows_coincide_without_ssh_sessions(lab: Lab, tmp_path: Path) -> None:
    log, run_file = tmp_path / "log", tmp_path / "run"
    options = ["--hosts", ",".join((*HOSTS, "closed")), "--duration", "6s", "--top", "10000", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab, *options, "--detach", "--log", str(log), "--save", str(run_file))]) as command:
        command.wait_for_phase(Phase.LEAVE, *HOSTS)
        wait_until(lambda: tracers(lab), "no trace begins", seconds=30)
        connected = [one for host in HOSTS for one in lab.hosts[host].processes("sshd")]
        assert len(connected) == len(HOSTS), "only the listening sshds"
        secrets = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"]
        inside = [path.read_bytes() for directory in directories(lab) for path in directory.iterdir() if path.is_file()]
        assert len(directories(lab)) == len(HOSTS)
        assert not any(secrets["password"]["ansible_become_password"].encode() in data for data in inside)
        assert (tmp_path / "run.left").stat().st_mode & 0o077 == 0
        assert secrets["password"]["ansible_become_password"] not in (tmp_path / "run.left").read_text()
        wait_for_window(run_file)
        truth = send(lab, *HOSTS)
        done = command.finish()
    assert done.status == 3
    assert {host["host"]: host["state"] for host in done.report["hosts"]} == {
        **dict.fromkeys(HOSTS, "ok"),
        "closed": "unreachable",
    }
    assert {name: done.host(name)["requests"] for name in HOSTS} == {name: truth.total(name) for name in HOSTS}
    assert keys_of(done.report["keys"]) == truth.by_key()
    window = seconds_of(log, "run.window")
    assert window["hosts"] == len(HOSTS)
    assert 0 <= float(str(window["spread_s"])) < 1
    assert float(str(window["skew_s"])) < 1
    assert "clock-skew" not in {warning["code"] for warning in done.report["warnings"]}
    assert run("report", str(run_file), "--top", "10000", "--output", "json").report["keys"] == done.report["keys"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "run"]
    check_gone(lab)


def test_traces_of_killed_controllers_are_collected_or_expire(lab: Lab, tmp_path: Path) -> None:
    """Two controllers die. The user resumes one run and not the other."""
    resumed, lost = tmp_path / "resumed", tmp_path / "lost"
    options = ["--duration", "6s", "--top", "10000", "--output", "json", "-v", "--detach"]
    with (
        Command(["run", *on_lab(lab, "--hosts", "plain,two,closed", *options, "--save", str(resumed))]) as one,
        Command(["run", *on_lab(lab, "--hosts", "sudo", *options, "--save", str(lost), "--detach-ttl", "1s")]) as other,
    ):
        one.wait_for_phase(Phase.LEAVE, "plain", "two")
        other.wait_for_phase(Phase.LEAVE, "sudo")
        for command in (one, other):
            command.signal(signal.SIGKILL)
            command.finish()
    assert not resumed.exists()
    refused = run("run", *on_lab(lab, "--hosts", "plain", *options, "--save", str(resumed)))
    assert refused.status == 2
    assert "--resume" in refused.err
    wait_for_window(resumed)
    truth = send(lab, "plain", "two")
    again = ["run", *on_lab(lab, "--top", "10000", "--output", "json", "-v", "--resume")]
    done = run(*again, str(resumed))
    assert done.status == 3
    assert {host["host"]: host["state"] for host in done.report["hosts"]} == {
        "plain": "ok",
        "two": "ok",
        "closed": "unreachable",
    }
    assert keys_of(done.report["keys"]) == truth.by_key()
    check_gone(lab)
    wait_until_untraced(lab, "plain", "sudo")
    late = run(*again, str(lost))
    assert (late.status, late.host("sudo")["error"]["code"]) == (4, "left-trace-gone")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lost", "resumed"]


def test_unreachable_host_is_collected_by_resume(lab: Lab, tmp_path: Path) -> None:
    run_file = tmp_path / "run"
    options = ["--hosts", "plain,victim", "--duration", "6s", "--top", "10000", "--output", "json", "-v", "--detach"]
    options += ["--connect-timeout", "3s", "--retries", "0", "--save", str(run_file)]
    try:
        with Command(["run", *on_lab(lab, *options)]) as command:
            command.wait_for_phase(Phase.LEAVE, "plain", "victim")
            wait_for_window(run_file)
            truth = send(lab, "plain", "victim")
            lab.hosts["victim"].cut_network()
            first = command.finish()
    finally:
        lab.hosts["victim"].restore_network()
    assert (first.status, first.host("plain")["requests"]) == (3, truth.total("plain"))
    assert first.host("victim")["state"] == "unreachable"
    assert "--resume" in first.err
    again = run("run", *on_lab(lab, "--resume", str(run_file), "--top", "10000", "--output", "json"))
    assert again.status == 0
    assert keys_of(again.report["keys"]) == truth.by_key()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    check_gone(lab)


@pytest.mark.parametrize("early", [True, False], ids=["before the window", "in the window"])
def test_interrupted_run_collects_and_removes_its_traces(lab: Lab, tmp_path: Path, early: bool) -> None:
    options = ["--hosts", "plain,password", "--duration", "30s", "--top", "10000", "--output", "json", "-v", "--detach"]
    with Command(["run", *on_lab(lab, *options, "--save", str(tmp_path / "run"))]) as command:
        command.wait_for_phase(Phase.LEAVE, "plain", "password")
        truth = Truth()
        if not early:
            wait_for_window(tmp_path / "run")
            truth = send(lab, "plain", "password")
        command.signal(signal.SIGINT)
        done = command.finish()
    assert done.status == 130
    assert [host["state"] for host in done.report["hosts"]] == ["interrupted", "interrupted"]
    assert keys_of(done.report["keys"]) == truth.by_key()
    check_gone(lab)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--serial", "1,100%"], ["--detach", "--serial"]),
        (["--probe", "watch"], ["--detach", "watch"]),
        (["--deadline", "20s"], ["--deadline", "20s"]),
    ],
)
def test_contradicting_options_are_refused_before_any_connection(
    lab: Lab, options: list[str], named: list[str]
) -> None:
    done = run("run", *on_lab(lab, "--hosts", "plain", "--detach", *options))
    assert (done.status, done.out) == (2, b"")
    assert [option for option in named if option not in done.err] == []
