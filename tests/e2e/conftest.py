"""One fleet for all end-to-end tests, and one sweep over it with results that many of them check."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.namespaces import enter
from fleettrace.lab.truth import Truth
from tests.e2e.command import Command, Done, on_lab
from tests.e2e.fleet import FLEET, TRACED, patched, plan_for
from tests.e2e.secret_watch import Watch


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab(FLEET) as made:
        yield made


@dataclass(frozen=True, slots=True)
class BigSweep:
    """One sweep over the whole fleet, and what was observed during it."""

    done: Done
    truth: Truth
    patched_meanwhile: bool
    """Whether a memcached's program text had a probe during the trace."""
    secrets: list[str]
    """The passwords of the inventory."""
    leaks: list[str] = field(default_factory=list)
    """Every process with a password in its arguments or environment."""


@pytest.fixture(scope="session")
def big_sweep(lab: Lab) -> BigSweep:
    """Sweep all hosts at once, with traffic on the healthy ones: the others must not change the numbers."""
    hosts = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"].values()
    secrets = [host["ansible_become_password"] for host in hosts if "ansible_become_password" in host]
    options = ["--duration", "20s", "--top", "100000", "--connect-timeout", "5s", "--output", "json", "-v"]
    instances = lab.instances(*TRACED)
    with Watch(secrets) as watch, Command(["run", *on_lab(lab), *options]) as command:
        command.wait_for_trace(*TRACED)
        truth = lab.send({instance: plan_for(instance) for instance in instances})
        seen = patched(lab.hosts["plain"].pids[11211])
        assert not command.has_finished(*TRACED), "the traffic outlasted the window"
        done = command.finish()
    return BigSweep(done, truth, seen, secrets, watch.leaks)


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    """Return variables for a run with an empty cache of analyses."""
    return {"XDG_CACHE_HOME": str(tmp_path)}


@pytest.fixture
def other_host() -> Iterator[tuple[str, str, list[str]]]:
    """A network namespace as a host of its own: our address there, its address, and how to run a command in it."""
    name, near, far = f"ftw{os.getpid()}", "10.231.250.1", "10.231.250.2"
    link = f"w{os.getpid()}"
    lines = [
        f"netns add {name}",
        f"link add {link} type veth peer name eth0 netns {name}",
        f"addr add {near}/30 dev {link}",
        f"link set {link} up",
        f"-n {name} addr add {far}/30 dev eth0",
        f"-n {name} link set eth0 up",
    ]
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)
        yield near, far, enter(name)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)
        subprocess.run(["ip", "link", "delete", link], check=False, stderr=subprocess.DEVNULL)
