"""The kernels, releases and variations that are tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.machines.load import Cell
from tests.machines.node import NodeSpec

__all__ = ["LOADS", "NODES", "PREEMPTED", "REFUSED", "Load", "Refusal"]


@dataclass(frozen=True, slots=True)
class Load:
    """Programs to load, without traffic, on one kernel with the bpftrace of several releases."""

    kernel: str
    suites: tuple[str, ...]
    arch: str = "amd64"
    words: str = ""
    headers: bool = False
    """Whether the kernel's headers are installed."""

    def __str__(self) -> str:
        words = f"-{self.words.replace('=', '-')}" if self.words else ""
        return f"{self.kernel}-{self.arch}{words}{'-headers' if self.headers else ''}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A known refusal: a part of its reason, the release of the bpftrace, and the kernel or program, if only one."""

    reason: str
    suite: str
    kernel: str | None = None
    program: str | None = None

    def explains(self, booted: Load, cell: Cell, reason: str) -> bool:
        """Return whether this refusal explains the reason."""
        known = (self.suite, self.kernel or booted.kernel, self.program or cell.name)
        same = known == (cell.suite, booted.kernel, cell.name) and not booted.headers
        return same and self.reason in reason


_ALL = ("bullseye", "bookworm", "trixie", "sid")
LOADS = (
    Load("5.10", _ALL),
    Load("5.10", ("bullseye", "bookworm"), headers=True),
    Load("6.1", _ALL),
    Load("6.12", _ALL),
    Load("6.12-rt", _ALL),
    Load("7.3", _ALL),
    Load("6.1", ("bookworm", "trixie"), "arm64"),
    Load("6.12", ("bookworm", "trixie"), "arm64"),
    Load("6.1", ("bookworm",), words="lockdown=integrity"),
)
_NO_TYPES = "'linux/types.h' file not found"
REFUSED = (
    # Without BTF, as on 5.10, bpftrace 0.17 needs the kernel's headers; 0.11 always does, for tracepoints.
    Refusal(_NO_TYPES, suite="bookworm", kernel="5.10"),
    Refusal(_NO_TYPES, suite="bullseye", program="syscall"),
)
"""Known refusals without installed kernel headers; `check` reports them as `no-kernel-types`."""

NODES: Mapping[str, NodeSpec] = {
    "5.10 x bullseye": NodeSpec("5.10", "bullseye"),
    "6.1 x bookworm": NodeSpec("6.1", "bookworm"),
    "6.12 x trixie": NodeSpec("6.12", "trixie"),
    "7.3 x sid": NodeSpec("7.3", "sid"),
    "arm64 6.1 x bookworm": NodeSpec("6.1", "bookworm", "arm64"),
    "arm64 6.12 x trixie": NodeSpec("6.12", "trixie", "arm64"),
    "6.12-rt x trixie": NodeSpec("6.12-rt", "trixie"),
    "5.10 x trixie": NodeSpec("5.10", "trixie"),
    "6.1 x trixie": NodeSpec("6.1", "trixie"),
    "6.12 x bookworm": NodeSpec("6.12", "bookworm"),
    "6.12-rt x bookworm": NodeSpec("6.12-rt", "bookworm"),
    "7.3 x bookworm": NodeSpec("7.3", "bookworm"),
    "8 CPUs": NodeSpec("6.1", "bookworm", cpus=8, options=("THREADS=8",)),
    "systemd, AppArmor, cgroup v2": NodeSpec("6.1", "bookworm", systemd=True, ports=(11211,), more=("udev",)),
    "lockdown=integrity": NodeSpec("6.1", "bookworm", words="lockdown=integrity"),
    "hidepid=2": NodeSpec("6.1", "bookworm", options=("HIDEPID=2",)),
    "clock two hours fast": NodeSpec("6.1", "bookworm", options=("SKEW=7200",)),
    "login shell zsh": NodeSpec("6.12", "trixie", shell="/usr/bin/zsh"),
    "login shell fish": NodeSpec("6.12", "trixie", shell="/usr/bin/fish"),
    "login shell dash": NodeSpec("6.12", "trixie", shell="/bin/dash"),
    "busybox and dropbear": NodeSpec("6.1", "bookworm", busybox=True),
    "Docker": NodeSpec(
        "6.12", "trixie", systemd=True, docker=True, more=("udev", "docker.io", "docker-cli"), memory=2048
    ),
}

PREEMPTED: Mapping[str, NodeSpec] = {
    f"{kernel}, preempt={mode}, {cpus} CPUs, {suite}": NodeSpec(
        kernel,
        suite,
        cpus=cpus,
        memory=3072,
        # With `preempt=voluntary`, QEMU 7.2 crashes when the guest boots (`Oops: int3`). It is 6.12's default.
        words="" if mode == "voluntary" else f"preempt={mode}",
        options=("THREADS=8",),
    )
    for kernel, mode, cpus, suite in (
        ("6.12", "voluntary", 4, "sid"),
        ("6.12", "full", 4, "sid"),
        ("7.3", "full", 4, "sid"),
        ("7.3", "full", 4, "bookworm"),
        ("7.3", "full", 1, "sid"),
        ("7.3", "lazy", 4, "sid"),
    )
}
"""Nodes for minutes of traffic on busy threads. 7.3 has only the modes full and lazy. With one CPU the emulator runs
one thread at a time, so a fault there is not the emulator's."""
