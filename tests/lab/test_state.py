"""A lab is removed, however its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.specs import HostSpec
from fleettrace.lab.state import labs, sweep_stale
from fleettrace.lab.system import children_of, wait_until
from tests.lab.traces import traces_of

pytestmark = pytest.mark.lab

OWNER = """
import time
from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import WEB
from fleettrace.lab.specs import HostSpec, Login, container
with Lab([HostSpec("a", container()), HostSpec("b", (), login=Login.SUDO)]) as lab:
    instance = lab.instances()[0]
    lab.start_load([Flow(instance, lab.hosts["a"].address, WEB, 50)], 60)
    print(lab.id, flush=True)
    time.sleep(60)
"""


def start_owner() -> tuple[subprocess.Popen[str], str]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    name = owner.stdout.readline().strip()
    assert name
    assert traces_of(name)
    return owner, name


def finish(owner: subprocess.Popen[str]) -> int:
    try:
        return owner.wait(timeout=20)
    finally:
        owner.kill()
        owner.wait()
        if owner.stdout is not None:
            owner.stdout.close()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_signal_removes_the_lab(number: int, status: int) -> None:
    owner, name = start_owner()
    owner.send_signal(number)
    assert finish(owner) == status
    assert traces_of(name) == []


def test_reaper_removes_the_lab_of_a_killed_owner() -> None:
    owner, name = start_owner()
    owner.kill()
    finish(owner)
    wait_until(lambda: not traces_of(name), "the reaper does not remove the lab", seconds=10, pause=0.2)


def test_next_set_up_removes_a_crashed_lab() -> None:
    owner, name = start_owner()
    os.kill(owner.pid, signal.SIGSTOP)
    for pid in children_of(owner.pid):
        if b"reaper.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    owner.kill()
    finish(owner)
    assert traces_of(name)
    with Lab([HostSpec("a", ())]) as lab:
        assert traces_of(name) == []
        assert lab.id in labs()


def test_lab_of_a_living_owner_is_not_removed() -> None:
    with Lab([HostSpec("a", ())]) as lab:
        assert lab.id not in sweep_stale()
        assert traces_of(lab.id)
