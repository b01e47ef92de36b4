"""Discovery names a memcached with a binary on a file system that denies root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.system import wait_until
from fleettrace.node.discovery import discovery_script, parse_discovery
from fleettrace.node.trace_obstacles import unreadable
from tests.node.ran import ran

pytestmark = pytest.mark.lab

OWNER = 64123
AS_OWNER = f"setpriv --reuid={OWNER} --regid={OWNER} --clear-groups"


@pytest.fixture(scope="module")
def denied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The pid of a memcached on another user's FUSE mount, without `allow_other`."""
    if shutil.which("bindfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("bindfs is not installed, or there is no /dev/fuse")
    directory = Path("/tmp") / f"{tmp_path_factory.mktemp('fuse').name}-{os.getpid()}"
    origin, place = directory / "origin", directory / "mount"
    origin.mkdir(parents=True)
    place.mkdir()
    shutil.copy(memcached_binary(), origin / "memcached")
    os.mknod(directory / "fuse", 0o20666, os.makedev(10, 229))
    (directory / "fuse").chmod(0o666)
    for path in (origin, place, origin / "memcached"):
        os.chown(path, OWNER, OWNER)
    script = f"""
    mount --bind {directory}/fuse /dev/fuse
    {AS_OWNER} --inh-caps +sys_admin --ambient-caps +sys_admin bindfs -f --no-allow-other {origin} {place} &
    mounted=$!
    until {AS_OWNER} test -e {place}/memcached; do sleep 0.1; done
    {AS_OWNER} {place}/memcached -l 127.0.0.1 -p 0 -U 0 &
    echo $! >{directory}/pid
    read -r _
    kill $!
    wait $!
    umount {place}
    kill $mounted
    """
    session = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE)
    assert session.stdin is not None
    try:
        pid_file = directory / "pid"
        wait_until(lambda: pid_file.exists() and bool(pid_file.read_text().strip()), "memcached does not start")
        pid = int(pid_file.read_text())
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "memcached\n", "memcached does not start")
        wait_until(lambda: len(list(Path(f"/proc/{pid}/task").iterdir())) > 1, "memcached does not serve")
        yield pid
    finally:
        session.stdin.close()
        session.wait(10)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "ash"]], ids=lambda words: words[-1])
def test_binary_unreadable_by_root_is_named(shell: list[str], denied: int) -> None:
    with pytest.raises(PermissionError):
        Path(f"/proc/{denied}/exe").stat()
    found = parse_discovery(ran(shell, discovery_script(["echo", "bpftrace v0.17.0"], "host")).stdout)
    assert denied in found.facts.unreadable
    assert denied not in found.facts.stuck
    error = unreadable(found.facts)
    assert error is not None
    assert error.code == "memcached-unreadable"
