"""A lab's hosts match their specifications, and a lab leaves nothing on the machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.profile import ALL_VERBS, HOSTILE_ASCII, HOSTILE_BINARY, Profile, plan
from fleettrace.lab.specs import (
    Bpftrace,
    HostKeyKind,
    HostSpec,
    InstanceSpec,
    Login,
    Reach,
    Shape,
    container,
    plain,
    two,
)
from fleettrace.lab.truth import TracedInstance
from tests.lab.traces import traces_of

pytestmark = pytest.mark.lab

SHAPES = (
    InstanceSpec(11211, Shape.WRAPPER),
    InstanceSpec(11212, Shape.RENAMED),
    InstanceSpec(11213, Shape.DELETED),
    InstanceSpec(11214, variant="debian"),
)
SPECS = (
    HostSpec("plain", plain()),
    HostSpec("two", two()),
    HostSpec("container", container()),
    HostSpec("shapes", SHAPES),
    HostSpec("empty", ()),
    HostSpec("down", (), reach=Reach.DOWN),
    HostSpec("closed", (), reach=Reach.CLOSED),
    HostSpec("mute", (), reach=Reach.MUTE),
    HostSpec("stranger", (), authorized=False),
    HostSpec("changed", (), host_key=HostKeyKind.CHANGED),
    HostSpec("unknown", (), host_key=HostKeyKind.UNKNOWN),
    HostSpec("sudo", (), login=Login.SUDO),
    HostSpec("password", (), login=Login.SUDO_PASSWORD),
    HostSpec("refused", (), login=Login.SUDO_REFUSED),
    HostSpec("bare", (), bpftrace=Bpftrace.ABSENT),
    HostSpec("old", (), bpftrace=Bpftrace.OLD),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    begun = time.monotonic()
    with Lab(SPECS) as made:
        print(f"\n{len(SPECS)} hosts set up in {time.monotonic() - begun:.1f} s")
        name = made.id
        yield made
    assert traces_of(name) == []


def ssh(lab: Lab, name: str, script: str, data: str = "", timeout: int = 2) -> subprocess.CompletedProcess[str]:
    host = lab.hosts[name]
    user = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"][name]["ansible_user"]
    where = f"{user}@{host.address}"
    options = ["-F", str(lab.ssh_config), "-o", f"ConnectTimeout={timeout}"]
    return subprocess.run(
        ["ssh", *options, where, script], input=data, capture_output=True, text=True, timeout=30, check=False
    )


def test_login_works_on_every_healthy_host(lab: Lab) -> None:
    for name in ("plain", "two", "container", "shapes", "empty"):
        address = lab.hosts[name].address
        assert address in ssh(lab, name, "ip -o -4 addr show dev eth0; id -un").stdout, name


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("down", ("timed out", "No route")),
        ("closed", ("Connection refused",)),
        ("mute", ("timed out during banner", "timed out")),
        ("stranger", ("Permission denied",)),
        ("changed", ("Host key verification failed",)),
        ("unknown", ("Host key verification failed",)),
    ],
)
def test_unreachable_host_fails_as_specified(lab: Lab, name: str, errors: tuple[str, ...]) -> None:
    done = ssh(lab, name, "true")
    assert done.returncode == 255
    assert any(error in done.stderr for error in errors), done.stderr


def test_sudo_is_as_specified(lab: Lab) -> None:
    assert ssh(lab, "sudo", "id -u; sudo -n id -u").stdout.split()[1] == "0"
    variables = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"]
    for name, answer in {"password": "0", "refused": ""}.items():
        assert "password is required" in ssh(lab, name, "sudo -n id -u").stderr
        secret = variables[name]["ansible_become_password"]
        assert ssh(lab, name, "sudo -S -p '' id -u", f"{secret}\n").stdout.strip() == answer, name


def test_bpftrace_is_as_specified(lab: Lab) -> None:
    assert ssh(lab, "plain", "command -v bpftrace").returncode == 0
    assert ssh(lab, "bare", "command -v bpftrace || ls /usr/bin/bpftrace").returncode != 0
    old = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"]["old"]["fleettrace_bpftrace"]
    assert ssh(lab, "old", f"{old} --version").stdout == "bpftrace v0.9.4\n"


def test_instances_have_their_shapes(lab: Lab) -> None:
    def exe(host: str, port: int = 11211) -> Path:
        return Path(f"/proc/{lab.hosts[host].pids[port]}/exe")

    assert exe("two", 11211).stat().st_ino == exe("two", 11212).stat().st_ino
    assert exe("two").stat().st_ino != exe("plain").stat().st_ino
    assert str(exe("container").readlink()) == "/usr/local/bin/memcached"
    assert exe("container").stat().st_ino == lab.hosts["container"].instance().binary.stat().st_ino
    assert exe("shapes", 11212).readlink().name == "kvstore"
    assert str(exe("shapes", 11213).readlink()).endswith("(deleted)")
    assert len(lab.hosts["shapes"].processes("memcached")) == 4  # the wrapper's script has that name too


def test_truth_equals_memcacheds_counters(lab: Lab) -> None:
    profile = Profile(verbs=ALL_VERBS, multiget=100, hostile=HOSTILE_ASCII + HOSTILE_BINARY)
    instances = lab.instances("plain", "two", "container")
    truth = lab.send({instance: plan(profile, seed, 1500) for seed, instance in enumerate(instances)})
    for instance in instances:
        verbs = truth.by_verb(*instance)
        stats = {
            name: int(value)
            for name, value in lab.hosts[instance.host].instance(instance.port).stats().items()
            if value.isdigit()
        }
        stores = ("set", "add", "replace", "append", "prepend", "cas", "ms", "bset")
        assert stats["cmd_get"] == sum(verbs[verb] for verb in ("get", "gets", "mg", "bget", "bgetk"))
        assert stats["cmd_set"] == sum(verbs[verb] for verb in stores)
        assert stats["cmd_touch"] == sum(verbs[verb] for verb in ("gat", "gats", "touch", "btouch"))
        assert stats["delete_hits"] + stats["delete_misses"] == sum(verbs[v] for v in ("delete", "md", "bdelete"))


def test_disconnected_host_answers_after_restore(lab: Lab) -> None:
    lab.hosts["empty"].cut_network()
    try:
        assert ssh(lab, "empty", "true", timeout=1).returncode == 255
    finally:
        lab.hosts["empty"].restore_network()
    assert ssh(lab, "empty", "true").returncode == 0


def test_frozen_host_answers_after_thaw(lab: Lab) -> None:
    host = lab.hosts["empty"]
    host.freeze()
    try:
        assert "banner" in ssh(lab, "empty", "true", timeout=1).stderr
    finally:
        host.thaw()
    assert ssh(lab, "empty", "true").returncode == 0


def test_sshd_and_memcached_can_be_restarted(lab: Lab) -> None:
    host = lab.hosts["plain"]
    host.kill_sshd()
    assert "refused" in ssh(lab, "plain", "true").stderr
    host.start_sshd()
    assert ssh(lab, "plain", "true").returncode == 0
    before = host.instance().pid
    host.instance().stop()
    assert TracedInstance("plain", 11211) not in lab.instances()
    host.instance().start()
    assert host.instance().pid != before


def test_two_labs_run_at_once(lab: Lab) -> None:
    with Lab([HostSpec("plain")]) as other:
        name = other.id
        assert other.hosts["plain"].address != lab.hosts["plain"].address
        assert ssh(other, "plain", "true").returncode == 0
    assert traces_of(name) == []
    assert ssh(lab, "plain", "true").returncode == 0
    assert lab.hosts["plain"].instance().stats()["pid"]
