"""The fleet of the chaos tests, its hosts' private directories, and the check that a run has left nothing on them."""

from __future__ import annotations

import subprocess

from fleettrace.lab.fleet import Lab
from fleettrace.lab.host import Host
from fleettrace.lab.namespaces import enter
from fleettrace.lab.specs import HostSpec, Login
from fleettrace.lab.sshd import sshd_command, wait_for_banner
from fleettrace.lab.system import run
from tests.e2e.fleet import command_of, patched

__all__ = ["FLEET", "OwnDirectories", "remains"]

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
    """Private directories for the sessions of a host, which the hosts of a lab otherwise share with the machine.

    Every file in them is fleettrace's. A process holds the mount namespace, so they outlive the host's sshd.
    """

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
        """Start the host's sshd, or restart it, with its private directories."""
        host = self._host
        assert host.account is not None
        host.kill_sshd()
        command_line = sshd_command(host.namespace, host.address, host.account, host.private, {}, hide=False)
        split = len(enter(host.namespace))
        with (host.private / "sshd.log").open("ab") as log:
            host.sshd = subprocess.Popen(
                [*command_line[:split], *self._inside, *command_line[split:]],
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
        """Run a command that sees the host's private directories and return its output."""
        return run([*self._inside, *command], check=check)

    def files(self) -> list[str]:
        """Return the files in the private directories that fleettrace must have created."""
        found = self.run("find", *DIRECTORIES, "-mindepth", "1").splitlines()
        return sorted(path for path in found if not path.startswith(NOT_OURS))

    def close(self) -> None:
        """Remove the directories. The host then has no sshd."""
        self._host.kill_sshd()
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdin, self._holder.stdout):
            if stream is not None:
                stream.close()


def remains(lab: Lab, directories: dict[str, OwnDirectories]) -> list[str]:
    """Return what a run has not removed from the hosts: processes, files, probes."""
    found = []
    for name, host in lab.hosts.items():
        ours = {*host.pids.values(), *([host.sshd.pid] if host.sshd else [])}
        found += [f"{name}: process {command_of(one.pid)}" for one in host.processes() if one.pid not in ours]
        found += [f"{name}: {path}" for path in directories[name].files()]
        found += [f"{name}: a probe in {pid}" for pid in host.pids.values() if patched(pid)]
    return found
