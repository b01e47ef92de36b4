"""Full disks: a host needs none, and on the controller only the files on the full disk are lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from tests.chaos.hosts import DIRECTORIES, OwnDirectories
from tests.e2e.command import Command, on_lab, run
from tests.e2e.fleet import keys_of, plan_for

pytestmark = pytest.mark.lab

PAGE = 4096


@contextmanager
def full(directories: OwnDirectories) -> Iterator[None]:
    """Fill every directory that a host's sessions may write to while the block runs."""
    filling = 'for dir; do mount -o remount,size=64k "$dir"; ! cat /dev/zero >"$dir/sshd-full" || exit 1; done'
    files = [f"{directory}/sshd-full" for directory in DIRECTORIES]
    try:
        directories.run("sh", "-c", f"exec 2>/dev/null; {filling}", "sh", *DIRECTORIES)
        assert directories.run("sh", "-c", "echo x >/tmp/more", check=False) == ""
        yield
    finally:
        directories.run("rm", "-f", "/tmp/more", *files)


def test_trace_needs_no_disk_space(lab: Lab, directories: dict[str, OwnDirectories]) -> None:
    hosts = ("full", "secret")
    options = ["--hosts", ",".join(hosts), "--duration", "3s", "--top", "10000", "--output", "json", "-v"]
    with ExitStack() as stack:
        for name in hosts:
            stack.enter_context(full(directories[name]))
        command = stack.enter_context(Command(["run", *on_lab(lab, *options)]))
        command.wait_for_trace(*hosts)
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*hosts)})
        done = command.finish()
    assert done.status == 0
    assert {name: done.host(name)["requests"] for name in hosts} == {name: truth.total(name) for name in hosts}
    assert keys_of(done.report["keys"]) == truth.by_key()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of a few pages."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={6 * PAGE}", "full", mount_point], check=True)
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", mount_point], check=True)


def test_report_is_printed_despite_a_full_disk(lab: Lab, disk: Path) -> None:
    options = ["--hosts", "steady,secret", "--duration", "3s", "--top", "10000", "--output", "json", "-v"]
    options += ["--save", str(disk / "run"), "--log", str(disk / "log"), "--store", str(disk / "history.db")]
    (disk / "others").write_bytes(bytes(5 * PAGE))
    with Command(["run", *on_lab(lab, *options)]) as command:
        command.wait_for_trace("steady", "secret")
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances("steady", "secret")})
        done = command.finish()
    assert done.status == 2
    lines = done.err.splitlines()
    assert [line for line in lines if f"{disk}/run" in line and os.strerror(errno.ENOSPC) in line]
    assert [line for line in lines if f"{disk}/history.db" in line]
    assert "Traceback" not in done.err
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert [host["state"] for host in done.report["hosts"]] == ["ok", "ok"]
    (warning,) = [each for each in done.report["warnings"] if each["code"] == "log-incomplete"]
    assert str(disk / "log") in warning["message"]
    assert not (disk / "run").exists()

    subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
    again = run("run", *on_lab(lab, *options, "--duration", "1s"))
    assert (again.status, again.report["warnings"]) == (0, [])
    assert run("report", str(disk / "run"), "--output", "json").host("secret")["state"] == "ok"
    assert run("history", "--store", str(disk / "history.db"), "--output", "json").out.count(b'"20') >= 1
    assert json.loads((disk / "log").read_text().splitlines()[-1])["event"] == "run.finished"


def test_unwritable_report_leaves_the_old_file(lab: Lab, disk: Path) -> None:
    (disk / "report").write_text("of yesterday")
    (disk / "others").write_bytes(bytes(5 * PAGE))
    options = ["--hosts", "steady", "--duration", "1s", "--output", "json", "-o", str(disk / "report")]
    done = run("run", *on_lab(lab, *options, "--no-store"))
    assert done.status == 2
    assert f"{disk}/report" in done.err.splitlines()[-1]
    assert os.strerror(errno.ENOSPC) in done.err.splitlines()[-1]
    assert sorted(path.name for path in disk.iterdir()) == ["others", "report"]
    assert (disk / "report").read_text() == "of yesterday"
