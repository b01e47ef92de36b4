"""The Ansible collection, by the real ansible on a lab: the shipped playbook ends in one exact report."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.specs import Bpftrace, HostSpec, Login, Reach, two
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import Truth
from fleettrace.node.plausible import ENDING_S, STARTUP_S
from tests.e2e.command import REPOSITORY, Done, environment
from tests.e2e.command import run as fleettrace
from tests.e2e.fleet import keys_of, patched, plan_for, tracers, untraced
from tests.e2e.secret_watch import Watch

pytestmark = pytest.mark.lab

COLLECTIONS = REPOSITORY / "integrations" / "ansible"
MODULE = "fleettrace.fleettrace.fleettrace_trace"
SOUND = ("cache-1", "cache-2", "cache-3")
WINDOW_S = 11
# bash under sshd reads root's .bashrc, whatever this machine has in it, unless it believes to be inside another shell.
QUIET = {"SHLVL": "1"}
FLEET = (
    HostSpec("cache-1", environment=QUIET),
    HostSpec("cache-2", two(), login=Login.SUDO),
    HostSpec("cache-3", login=Login.SUDO_PASSWORD),
    HostSpec("closed", (), reach=Reach.CLOSED),
    HostSpec("bare", bpftrace=Bpftrace.ABSENT, environment=QUIET),
    HostSpec("wrong", (), login=Login.SUDO_WRONG_PASSWORD),
)
FAULTY = {
    "closed": ("unreachable", "connection-failed"),
    "bare": ("no-bpftrace", "no-bpftrace"),
    "wrong": ("become-failed", "become-wrong-password"),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(FLEET) as made:
        yield made


@pytest.fixture(scope="module")
def settings(lab: Lab) -> dict[str, str]:
    """Ansible's settings, none of them the machine's."""
    config = lab.private / "ansible.cfg"
    config.touch()
    return environment(
        ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
        ANSIBLE_CONFIG=str(config),
        ANSIBLE_HOME=str(lab.private / "ansible"),
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(lab.private / "cp"),
        ANSIBLE_SSH_ARGS="-o ControlMaster=auto -o ControlPersist=5s",
        ANSIBLE_FORKS=str(len(FLEET)),
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
    )


def ansible(lab: Lab, settings: dict[str, str], *words: str) -> Done:
    """Run Ansible on the lab's inventory, as a site does that also uses it for fleettrace."""
    command = [*words, "-i", str(lab.inventory), "--ssh-common-args", f"-F {lab.ssh_config}"]
    done = subprocess.run([sys.executable, "-m", "ansible", *command], env=settings, capture_output=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr.decode())


@dataclass(frozen=True)
class Played:
    """The shipped playbook, run over the whole fleet under traffic."""

    done: Done
    truth: Truth
    report: Any
    files: list[Path]
    leaks: list[str]


def counting(lab: Lab, name: str) -> bool:
    """Return whether the counting trace of a host runs, and not the short one that estimates rates before it."""
    host = lab.hosts[name]
    bound = b"\0%d\0" % (STARTUP_S + WINDOW_S + ENDING_S)
    return any(bound in words(one.pid) for one in host.processes("timeout")) and all(map(patched, host.pids.values()))


def words(pid: int) -> bytes:
    """The arguments of a process; none once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def played(lab: Lab, settings: dict[str, str]) -> Played:
    runs, report = lab.private / "runs", lab.private / "report.json"
    variables = {
        "trace_dest": str(runs),
        "trace_report": str(report),
        "trace_format": "json",
        "trace_duration": f"{WINDOW_S}s",
    }
    results: list[Done] = []

    def work() -> None:
        words = ("playbook", "fleettrace.fleettrace.trace", "-e", json.dumps(variables))
        results.append(ansible(lab, settings, *words))

    secrets = [str(lab.hosts[name].variables().get("ansible_become_password")) for name in ("cache-3", "wrong")]
    thread = threading.Thread(target=work)
    with Watch(secrets) as watch:
        thread.start()
        wait_until(
            lambda: all(counting(lab, name) for name in SOUND), "not every host is traced", seconds=60, pause=0.2
        )
        # The count starts when bpftrace has reported that all probes are attached.
        time.sleep(2)
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*SOUND)})
        assert all(counting(lab, name) for name in SOUND), "the traffic outlasted the window"
        thread.join()
    return Played(results[0], truth, json.loads(report.read_text()), sorted(runs.glob("*/*.run")), watch.leaks)


def test_playbook_makes_one_exact_report(played: Played) -> None:
    assert keys_of(played.report["keys"]).items() <= played.truth.by_key().items()
    assert played.report["totals"]["requests"] == sum(played.truth.total(name) for name in SOUND)
    for host in played.report["hosts"]:
        if host["host"] in SOUND:
            assert (host["state"], host["requests"]) == ("ok", played.truth.total(host["host"]))


def test_failed_host_is_reported_and_fails_alone(played: Played) -> None:
    reported = {host["host"]: host for host in played.report["hosts"]}
    assert set(reported) == {spec.name for spec in FLEET}
    assert {name: (reported[name]["state"], reported[name]["error"]["code"]) for name in FAULTY} == FAULTY
    assert played.done.status in (2, 4), "ansible reports failed or unreachable hosts"
    recap = played.done.out.decode().partition("PLAY RECAP")[2]
    assert recap.count("unreachable=1") == 1
    assert recap.count("failed=1") == 2
    assert recap.count("changed=0") == len(FLEET)


def test_run_files_merge_into_one_run(played: Played) -> None:
    assert [path.name for path in played.files] == sorted(f"{spec.name}.run" for spec in FLEET)
    merged = fleettrace("merge", "--output", "json", "--top", "100000", *(str(path) for path in played.files))
    assert keys_of(merged.report["keys"]) == played.truth.by_key()
    assert merged.report["run"]["id"] == played.files[0].parent.name


def test_nothing_is_left_on_the_hosts(played: Played, lab: Lab) -> None:
    assert played.done.status
    assert tracers(lab) == []
    assert untraced(lab, *SOUND)


def test_no_process_shows_a_password(played: Played) -> None:
    assert played.leaks == []


def test_check_mode_plans_and_traces_nothing(lab: Lab, settings: dict[str, str], tmp_path: Path) -> None:
    results, runs = tmp_path / "results", tmp_path / "runs"
    words = ["-m", MODULE, "-a", f"dest={runs}", "--become", "--check", "--tree", str(results)]
    over = threading.Event()
    seen: list[str] = []

    def watch() -> None:
        while not over.wait(0.05):
            seen.extend(tracers(lab))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        ansible(lab, settings, "adhoc", ",".join(SOUND), *words)
    finally:
        over.set()
        thread.join()
    for name in SOUND:
        result = json.loads((results / name).read_text())
        assert (result["state"], result["changed"], result["requests"], result["run_file"]) == ("ok", False, None, None)
        assert {one["kind"] for one in result["instances"]} == {"item"}
    assert not [line for line in seen if "-e" in line]
    assert not runs.exists()


def test_watch_probe_runs_to_its_end(lab: Lab, settings: dict[str, str], tmp_path: Path) -> None:
    options = "probe=watch duration=1s"
    ansible(lab, settings, "adhoc", "cache-3", "-m", MODULE, "-a", options, "--become", "--tree", str(tmp_path))
    result = json.loads((tmp_path / "cache-3").read_text())
    assert (result["state"], result["requests"]) == ("ok", 0)


def test_invalid_option_fails_the_task(lab: Lab, settings: dict[str, str]) -> None:
    done = ansible(lab, settings, "adhoc", "cache-1", "-m", MODULE, "-a", "duration=soon")
    assert done.status == 2
    assert "'soon' is not a duration" in done.out.decode()


@pytest.mark.slow
def test_role_finds_bpftrace_installed(lab: Lab, settings: dict[str, str], tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text("- hosts: cache-1\n  gather_facts: false\n  roles: [fleettrace.fleettrace.bpftrace]\n")
    done = ansible(
        lab, settings, "playbook", str(play), "--check", "--become", "-e", '{"bpftrace_update_cache": false}'
    )
    assert done.status == 0, done.out.decode()
    assert "changed=0" in done.out.decode().partition("PLAY RECAP")[2]


def test_ansible_doc_shows_the_module(settings: dict[str, str]) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ansible", "doc", MODULE], env=settings, capture_output=True, text=True, check=True
    ).stdout
    assert "Finds every memcached of the host" in shown


def test_collection_builds(settings: dict[str, str], tmp_path: Path) -> None:
    collection = COLLECTIONS / "ansible_collections" / "fleettrace" / "fleettrace"
    words = ["galaxy", "collection", "build", str(collection), "--output-path", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "ansible", *words], env=settings, capture_output=True, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["fleettrace-fleettrace-0.1.0.tar.gz"]
