"""What a session could not look into is never taken for absent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from tests.e2e.command import Command, Done
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab

UNPRIVILEGED = ["setpriv", "--bounding-set", "-sys_ptrace"]
"""Root as in a container with the capabilities of a general debug profile."""
CGROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[Served]:
    """A memcached of another user."""
    with served(tmp_path, DEBIAN) as server:
        yield server


def run(inventory: Path, inside: list[str] | None = None) -> Done:
    arguments = ["run", "-i", str(inventory), "--duration", "1s", "--output", "json"]
    with Command(arguments, inside=inside or []) as command:
        return command.finish()


def test_a_process_that_cannot_be_looked_into_is_no_empty_host(strangers: Served) -> None:
    done = run(strangers.inventory, UNPRIVILEGED)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("unsupported", "memcached-unreadable", 4)


def test_beside_one_that_is_traced_it_makes_the_host_partial(strangers: Served, tmp_path: Path) -> None:
    assert strangers.pid
    own = tmp_path / "own"
    own.mkdir()
    with served(own, DEBIAN, "-u", "root", within=UNPRIVILEGED) as server:
        done = run(server.inventory, UNPRIVILEGED)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("partial", "memcached-unreadable", 3)
    assert [instance["state"] for instance in host["instances"]] == ["ok"]


def test_a_zombie_memcached_is_not_one_that_cannot_be_looked_into(strangers: Served) -> None:
    os.kill(strangers.pid, 9)
    done = run(strangers.inventory, UNPRIVILEGED)
    message = done.host("here")["error"]["message"] if done.host("here")["error"] else ""
    assert not re.search(rf"\b{strangers.pid}\b", message)


@pytest.fixture
def contained(strangers: Served) -> Iterator[Served]:
    """The same in a container that no runtime knows."""
    if not os.access(CGROUPS, os.W_OK):
        pytest.skip("needs cgroup v1 to name a container")
    group = CGROUPS / f"docker-{'ab' * 32}.scope"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(strangers.pid))
        yield strangers
    finally:
        (CGROUPS / "cgroup.procs").write_text(str(strangers.pid))
        group.rmdir()


def test_a_selector_by_container_that_cannot_be_judged_is_an_error(contained: Served) -> None:
    text = contained.inventory.read_text()
    contained.inventory.write_text(text.replace(str(contained.port), "'container:cache-*'"))
    done = run(contained.inventory)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("unsupported", "container-unnamed", 4)


def test_a_selector_by_port_needs_no_containers_name(contained: Served) -> None:
    done = run(contained.inventory)
    assert (done.host("here")["state"], done.status) == ("ok", 0)
