"""A probe lands on the analysed instruction or nowhere: each memcached here is one that a wrong offset would crash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fleettrace.lab.protocol import Command
from tests.binary.builds import stripped
from tests.e2e.fleet import keys_of
from tests.e2e.local import served

pytestmark = pytest.mark.lab

TRAFFIC = [Command("set", (b"k",)), *[Command("get", (b"k",))] * 211, *[Command("get", (b"absent",))] * 101]
MOVED = ("lld-bare", "mold-bare", "no-pie-bare")


def private(build: Path, folder: Path) -> Path:
    """A copy of a build, so that its inode is the test's own."""
    return Path(shutil.copy2(build, folder / "memcached"))


def without_unshare(folder: Path) -> dict[str, str]:
    """Variables of a node where unshare(1) may not be used, and bpftrace is given no symbols of ours."""
    (folder / "bin").mkdir()
    refusing = folder / "bin" / "unshare"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    return {"PATH": f"{refusing.parent}:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "no-overlay"])
@pytest.mark.parametrize("name", MOVED)
def test_code_whose_address_is_not_its_offset_is_counted(name: str, overlay: bool, tmp_path: Path) -> None:
    variables = {} if overlay else without_unshare(tmp_path)
    with served(tmp_path, private(stripped(name), tmp_path)) as memcached:
        done, truth = memcached.trace(TRAFFIC, "--probe", "item", variables=variables)
        assert memcached.stats()["pid"] == str(memcached.pid)
    [instance] = done.host("here")["instances"]
    assert (instance["state"], instance["probe"]["rung"]) == ("ok", "item")
    assert keys_of(done.report["keys"]) == truth.by_key()
