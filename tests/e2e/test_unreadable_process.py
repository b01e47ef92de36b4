"""A process that a session cannot read is never treated as absent."""

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
"""Root without CAP_SYS_PTRACE, as in a container with a general debug profile."""
CGROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[Served]:
    """Yield a memcached of another user."""
    with served(tmp_path, DEBIAN) as server:
        yield server


def run(inventory: Path, inside: list[str] | None = None) -> Done:
    arguments = ["run", "-i", str(inventory), "--duration", "1s", "--output", "json"]
    with Command(arguments, inside=inside or []) as command:
        return command.finish()


def test_unreadable_memcached_is_unsupported(strangers: Served) -> None:
    done = run(strangers.inventory, UNPRIVILEGED)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("unsupported", "memcached-unreadable", 4)


def test_unreadable_beside_traced_is_partial(strangers: Served, tmp_path: Path) -> None:
    assert strangers.pid
    own = tmp_path / "own"
    own.mkdir()
    with served(own, DEBIAN, "-u", "root", within=UNPRIVILEGED) as server:
        done = run(server.inventory, UNPRIVILEGED)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("partial", "memcached-unreadable", 3)
    assert [instance["state"] for instance in host["instances"]] == ["ok"]


def test_zombie_memcached_is_not_unreadable(strangers: Served) -> None:
    os.kill(strangers.pid, 9)
    done = run(strangers.inventory, UNPRIVILEGED)
    message = done.host("here")["error"]["message"] if done.host("here")["error"] else ""
    assert not re.search(rf"\b{strangers.pid}\b", message)


@pytest.fixture
def contained(strangers: Served) -> Iterator[Served]:
    """Yield the same memcached in the control group of a container that no runtime knows."""
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


def test_container_selector_on_an_unnamed_container_fails(contained: Served) -> None:
    text = contained.inventory.read_text()
    contained.inventory.write_text(text.replace(str(contained.port), "'container:cache-*'"))
    done = run(contained.inventory)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("unsupported", "container-unnamed", 4)


def test_port_selector_needs_no_container_name(contained: Served) -> None:
    done = run(contained.inventory)
    assert (done.host("here")["state"], done.status) == ("ok", 0)
