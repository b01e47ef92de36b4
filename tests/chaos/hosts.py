"""The fleet that has the accidents, with directories of its hosts' own, and what to look for on them afterwards."""

from __future__ import annotations

import subprocess

from fleettrace.lab.fleet import Lab
from fleettrace.lab.host import Host
from fleettrace.lab.namespaces import enter
from fleettrace.lab.specs import HostSpec, Login
from fleettrace.lab.sshd import sshd_command, wait_for_banner
from fleettrace.lab.system import run
from tests.e2e.fleet import command_of, patched

__all__ = ["FLEET", "OwnDirectories", "left_over"]

FLEET = (
    HostSpec("steady"),
    HostSpec("secret", login=Login.SUDO_PASSWORD),
    HostSpec("slow"),
    HostSpec("cut"),
    HostSpec("shut"),
    HostSpec("frozen"),
    HostSpec("full"),
    HostSpec("bastion", ()),
    HostSpec("behind"),
)
DIRECTORIES = ("/tmp", "/run", "/var/tmp", "/dev/shm", "/mnt", "/media", "/srv")
NOT_OURS = ("/run/mount", "/run/sshd", "/run/sudo")
PRIVATE = (
    'for directory; do mount -t tmpfs private "$directory" || exit 1; done; mkdir -m 0755 /run/sshd; echo; read -r _'
)


class OwnDirectories:
    """A host whose sessions have directories to themselves, which the hosts of a lab otherwise share with the machine:
    whatever is in them is ours. A process holds them, so they outlive the host's sshd."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--", "sh", "-c", PRIVATE, "sh", *DIRECTORIES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"\n"
        self.start_sshd()

    def start_sshd(self) -> None:
        """Start the host's sshd (again) among its own directories."""
        host = self._host
        assert host.account is not None
        host.kill_sshd()
        words = sshd_command(host.namespace, host.address, host.account, host.private, {}, hide=False)
        split = len(enter(host.namespace))
        with (host.private / "sshd.log").open("ab") as log:
            host.sshd = subprocess.Popen(
                [*words[:split], *self._inside, *words[split:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for_banner(host.address, host.name)

    @property
    def _inside(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    def run(self, *command: str, check: bool = True) -> str:
        """What a command prints that sees the host's directories."""
        return run([*self._inside, *command], check=check)

    def files(self) -> list[str]:
        """All that is in its directories and that nobody but us can have put there."""
        found = self.run("find", *DIRECTORIES, "-mindepth", "1").splitlines()
        return sorted(path for path in found if not path.startswith(NOT_OURS))

    def close(self) -> None:
        """Give the directories up; the host has no sshd then."""
        self._host.kill_sshd()
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdin, self._holder.stdout):
            if stream is not None:
                stream.close()


def left_over(lab: Lab, directories: dict[str, OwnDirectories]) -> list[str]:
    """What a run has left on the hosts: processes, files, probes."""
    found = []
    for name, host in lab.hosts.items():
        ours = {*host.pids.values(), *([host.sshd.pid] if host.sshd else [])}
        found += [f"{name}: process {command_of(one.pid)}" for one in host.processes() if one.pid not in ours]
        found += [f"{name}: {path}" for path in directories[name].files()]
        found += [f"{name}: a probe in {pid}" for pid in host.pids.values() if patched(pid)]
    return found
