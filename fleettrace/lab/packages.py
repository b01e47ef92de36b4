"""Which Debian packages the lab leans on, what for, and which of them are absent.

The lab installs nothing by itself: whoever runs it (the Makefile does) installs these first. A feature asks for its own
packages with `require`, so that a machine without Docker still runs everything else.
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
    """A Debian package, why the lab wants it, and a program or file that shows it is there."""

    name: str
    purpose: str
    witness: str
    """A program's name (looked up on PATH and in the sbin directories) or, with a slash in it, a file's path."""

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
    Package("passwd", "users of a lab's own, for hosts that need sudo", "useradd"),
    Package("util-linux", "nsenter and unshare", "unshare"),
)
BUILD = (
    Package("build-essential", "compiler, make and dpkg-source for an unstripped memcached", "dpkg-source"),
    Package("gcc", "compiles memcached", "gcc"),
    Package("make", "builds memcached", "make"),
    Package("libevent-dev", "memcached's one library", "/usr/include/event2/event.h"),
    Package("pkg-config", "memcached's configure looks for libevent with it", "pkg-config"),
    Package("binutils", "strip, for the stripped variant", "strip"),
)
DTRACE = (Package("systemtap-sdt-dev", "sys/sdt.h and dtrace, for the build with USDT probes", "dtrace"),)
SUDO = (Package("sudo", "hosts where one logs in as a user and becomes root", "sudo"),)
DOCKER = (Package("docker.io", "real containers", "/usr/sbin/dockerd"),)
PACKAGES = (*FLEET, *BUILD, *DTRACE, *SUDO, *DOCKER)


def find_program(name: str) -> str | None:
    """The path of a program, the sbin directories included: a user's PATH often leaves them out."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")


def missing_packages(wanted: Iterable[Package] = PACKAGES) -> list[Package]:
    """Those of `wanted` that are not installed here, in the same order."""
    return [package for package in wanted if not package.present]


def cure(missing: Iterable[Package]) -> str:
    """The command that installs what is missing."""
    return "apt-get install -y --no-install-recommends " + " ".join(package.name for package in missing)


def require(wanted: Iterable[Package], what: str) -> None:
    """Raise `FleettraceError`, naming `what` and the packages it lacks, unless all of them are here."""
    missing = missing_packages(wanted)
    if missing:
        names = ", ".join(f"{package.name} ({package.purpose})" for package in missing)
        raise FleettraceError(f"{what} needs packages that are not installed: {names}; run: {cure(missing)}")
