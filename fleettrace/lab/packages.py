"""The Debian packages that the lab needs, their purpose, and which of them are missing.

The lab installs nothing: the Makefile installs these packages first. Each feature calls `require` for its own packages,
so that a machine without Docker still runs everything else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import FleettraceError

__all__ = ["BUILD", "DOCKER", "DTRACE", "FLEET", "PACKAGES", "SUDO", "Package", "cure", "missing_packages", "require"]


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package, its purpose in the lab, and a program or file that shows that it is installed."""

    name: str
    purpose: str
    witness: str
    """A program's name (looked up on PATH and in the sbin directories), or a file's path if it contains a slash."""

    @property
    def present(self) -> bool:
        if "/" in self.witness:
            return Path(self.witness).exists()
        return find_program(self.witness) is not None


FLEET = (
    Package("bpftrace", "traces the memcached processes", "bpftrace"),
    Package("iproute2", "network namespaces, veth pairs and the bridge", "ip"),
    Package("memcached", "the stripped binary as Debian ships it", "/usr/bin/memcached"),
    Package("openssh-client", "ssh-keygen makes the hosts' and the client's keys", "ssh-keygen"),
    Package("openssh-server", "every host runs an sshd of its own", "sshd"),
    Package("passwd", "creates users, for hosts that need sudo", "useradd"),
    Package("util-linux", "nsenter and unshare", "unshare"),
)
BUILD = (
    Package("build-essential", "compiler, make and dpkg-source for an unstripped memcached", "dpkg-source"),
    Package("gcc", "compiles memcached", "gcc"),
    Package("make", "builds memcached", "make"),
    Package("libevent-dev", "memcached's one library", "/usr/include/event2/event.h"),
    Package("pkg-config", "memcached's configure finds libevent with it", "pkg-config"),
    Package("binutils", "strip, for the stripped variant", "strip"),
)
DTRACE = (Package("systemtap-sdt-dev", "sys/sdt.h and dtrace, for the build with USDT probes", "dtrace"),)
SUDO = (Package("sudo", "hosts where the login user becomes root by sudo", "sudo"),)
DOCKER = (Package("docker.io", "real containers", "/usr/sbin/dockerd"),)
PACKAGES = (*FLEET, *BUILD, *DTRACE, *SUDO, *DOCKER)


def find_program(name: str) -> str | None:
    """Return the path of a program, searching the sbin directories too, which a user's PATH often lacks."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")


def missing_packages(packages: Iterable[Package] = PACKAGES) -> list[Package]:
    """Return those of `packages` that are not installed, in the same order."""
    return [package for package in packages if not package.present]


def cure(missing: Iterable[Package]) -> str:
    """Return the command that installs the missing packages."""
    return "apt-get install -y --no-install-recommends " + " ".join(package.name for package in missing)


def require(packages: Iterable[Package], feature: str) -> None:
    """Raise `FleettraceError`, with the feature, the missing packages and their cure, unless all are installed."""
    missing = missing_packages(packages)
    if missing:
        names = ", ".join(f"{package.name} ({package.purpose})" for package in missing)
        raise FleettraceError(f"{feature} needs packages that are not installed: {names}; run: {cure(missing)}")
