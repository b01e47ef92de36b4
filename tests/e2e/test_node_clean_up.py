"""A run leaves no process, file, mount, probe or uprobe definition on a host."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fleettrace.errors import FleettraceError
from fleettrace.lab.fleet import Lab
from fleettrace.lab.host import Host
from fleettrace.lab.sshd import sshd_command, wait_for_banner
from fleettrace.lab.system import Process, process, run, wait_until
from tests.e2e.command import Command, on_lab
from tests.e2e.fleet import command_of, patched, wait_until_untraced

pytestmark = pytest.mark.lab

NAME = "victim"
DIRECTORIES = ("/tmp", "/run", "/var/tmp", "/dev/shm", "/mnt", "/media", "/srv")
PRIVATE = """
for directory in $1; do mount -t tmpfs private "$directory" || exit 1; done
mkdir -m 0755 /run/sshd && shift && exec "$@"
"""


@contextmanager
def own_directories(host: Host) -> Iterator[Process]:
    """Give the host's sessions private directories while the block runs; yield its sshd.

    Hosts of a lab otherwise share them with the machine. Every file in a private one is fleettrace's.
    """
    assert host.account is not None
    command_line = sshd_command(host.namespace, host.address, host.account, host.private, {}, hide=False)
    split = command_line.index("--") + 1
    private = ["unshare", "--mount", "--", "sh", "-c", PRIVATE, "sh", " ".join(DIRECTORIES)]
    host.kill_sshd()
    launcher = subprocess.Popen(
        [*command_line[:split], *private, *command_line[split:]], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_banner(host.address, host.name)
        sshd = process(launcher.pid)
        assert sshd is not None
        yield sshd
    finally:
        host.kill_sshd()
        launcher.wait(timeout=10)
        host.start_sshd()


def inside(sshd: Process, command: Sequence[str]) -> str:
    return run(["nsenter", f"--mount=/proc/{sshd.pid}/ns/mnt", "--", *command])


def files(sshd: Process) -> list[str]:
    return sorted(inside(sshd, ["find", *DIRECTORIES, "-mindepth", "1"]).splitlines())


def mounts(sshd: Process) -> Counter[str]:
    return Counter(Path(f"/proc/{sshd.pid}/mounts").read_text().splitlines())


def mount_namespaces(host: Host) -> set[str]:
    return {str(Path(f"/proc/{one.pid}/ns/mnt").readlink()) for one in host.processes()}


def definitions() -> set[str]:
    """Return the uprobe definitions, machine-wide, for binaries that a trace holds open."""
    lines = Path("/sys/kernel/tracing/uprobe_events").read_text().splitlines()
    return {line for line in lines if "/fd/5:" in line}


def others(host: Host, *pids: int) -> list[str]:
    """Return the host's processes other than these."""
    return [command_of(one.pid) for one in host.processes() if one.pid not in pids]


@pytest.mark.parametrize("end", ["complete", "interrupted", "killed"])
def test_run_leaves_nothing_on_the_host(lab: Lab, end: str) -> None:
    host = lab.hosts[NAME]
    pid = host.instance().pid
    with own_directories(host) as sshd:
        before = (files(sshd), mount_namespaces(host))
        mounted, defined = mounts(sshd), definitions()
        duration = "2s" if end == "complete" else "60s"
        with Command(["run", *on_lab(lab, "--hosts", NAME, "--duration", duration, "-v")]) as command:
            command.wait_for_trace(NAME)
            assert patched(pid)
            if end != "complete":
                command.signal(signal.SIGINT if end == "interrupted" else signal.SIGKILL)
            command.finish()
        with suppress(FleettraceError):
            wait_until(lambda: not others(host, pid, sshd.pid), "a process does not end", seconds=5)
        assert others(host, pid, sshd.pid) == []
        assert (files(sshd), mount_namespaces(host)) == before
        # There may be fewer: the removal of another lab also removes the mounts of its namespaces here.
        assert mounts(sshd) <= mounted
        with suppress(FleettraceError):
            wait_until(lambda: definitions() <= defined, "a uprobe definition is not removed", seconds=5)
        assert definitions() <= defined
        wait_until_untraced(lab, NAME)


def test_traced_process_keeps_running_unchanged(lab: Lab) -> None:
    instance = lab.hosts["plain"].instance()
    before, connections = instance.process, instance.stats()["rejected_connections"]
    with Command(["run", *on_lab(lab, "--hosts", "plain", "--duration", "1s")]) as command:
        assert command.finish().status == 0
    assert instance.process == before
    assert before is not None
    assert before.alive
    assert instance.stats()["rejected_connections"] == connections
