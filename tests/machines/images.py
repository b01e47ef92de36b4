"""Disk images for guests: ext4, created without mounting. Guests share an image, and none writes to it.

An `unpacked` root has bpftrace and its libraries unpacked, not installed: no maintainer script runs, so it takes about
ten seconds and works for a foreign architecture without emulation.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from fleettrace.lab.system import run
from tests.machines.debian import Apt, built, machines_cache, source_line
from tests.machines.kernels import Kernel

__all__ = ["emulate", "ext4", "kernel_headers", "mmdebstrap", "stock", "unpacked"]

_STOCK = (
    *("memcached", "bpftrace", "openssh-server", "sudo", "iproute2", "procps", "kmod"),
    *("systemd-sysv", "dbus", "apparmor", "zsh", "fish"),
)
_FREE = 64
"""MiB of an image left free."""
_MOUNT_POINTS = ("proc", "sys", "dev", "tmp", "run", "usr/src", "lib/modules")
_MERGED = ("bin", "sbin", "lib", "lib64")
"""Links into /usr that the package base-files creates, which is not unpacked here."""


def unpacked(suite: str, arch: str = "amd64", packages: Sequence[str] = ("bpftrace", "busybox-static")) -> Path:
    """Return the image of an unpacked root with these packages, built if it is not cached."""
    name = "-".join([suite, arch, *packages])

    def make(image: Path) -> None:
        root = image.with_name("root")
        mmdebstrap(suite, arch, packages, root, variant="extract")
        for link in _MERGED:
            if (root / "usr" / link).is_dir() and not (root / link).exists():
                (root / link).symlink_to(f"usr/{link}")
        for directory in _MOUNT_POINTS:
            (root / directory).mkdir(parents=True, exist_ok=True)
        if not (root / "bin/sh").exists():  # bpftrace 0.17 crashes where popen(3) finds none
            (root / "bin/sh").symlink_to("/bin/busybox")
        ext4(root, image)
        shutil.rmtree(root)

    return built(machines_cache() / f"images/unpacked-{name}.ext4", make)


def kernel_headers(booted: Kernel) -> Path:
    """Return the image of the package linux-headers-RELEASE, with /usr/src and /lib/modules."""

    def make(image: Path) -> None:
        root = image.with_name("root")
        apt = Apt(booted.suite, booted.arch)
        name = f"linux-headers-{booted.release}"
        common = next(one for one in apt.depends(name) if one.endswith("-common"))
        apt.unpack([name, common], root)
        ext4(root, image)
        shutil.rmtree(root)

    return built(machines_cache() / f"images/headers-{booted.release}.ext4", make)


def stock(suite: str, arch: str = "amd64", more: Sequence[str] = ()) -> Path:
    """Return the image of an installed release with bpftrace, memcached, sshd, sudo and systemd.

    The packages' maintainer scripts run, for a foreign architecture under qemu-user.
    """
    name = "-".join([suite, arch, *more])

    def install(tar: Path) -> None:
        if arch == "arm64":
            emulate()
        mmdebstrap(suite, arch, [*_STOCK, *more], tar, variant="minbase")

    def make(image: Path) -> None:
        root = image.with_name("root")
        root.mkdir()
        tar = built(machines_cache() / f"roots/stock-{name}.tar", install)
        run(["tar", "-C", root, "-xpf", tar, "--exclude=./dev/*"], seconds=300)
        ext4(root, image, free=512)
        shutil.rmtree(root)

    return built(machines_cache() / f"images/stock-{name}.ext4", make)


def emulate() -> None:
    """Let this machine run arm64 programs, as the package qemu-user-static does where systemd starts its units."""
    table = Path("/proc/sys/fs/binfmt_misc")
    if not (table / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", table])
    if not (table / "qemu-aarch64").exists():
        (table / "register").write_bytes(Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_bytes().strip())


def mmdebstrap(suite: str, arch: str, packages: Sequence[str], target: Path, *, variant: str) -> None:
    """Run mmdebstrap. `target` is a directory, or a tar file if its name ends with .tar."""
    options = [
        'Acquire::Check-Valid-Until "false"',
        'Acquire::Retries "3"',
        'APT::Install-Recommends "false"',
    ]
    left_out = [f"path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", f"--variant={variant}", f"--architectures={arch}"),
        f"--include={','.join(packages)}",
        *(f"--aptopt={option}" for option in options),
        *(f"--dpkgopt={option}" for option in left_out),
        *(suite, str(target), source_line(suite)),
    ]
    run(command, seconds=1800)


def ext4(root: Path, image: Path, *, free: int = _FREE) -> None:
    """Write the tree `root` into the new file `image`, with `free` MiB left on it."""
    used = int(run(["du", "-sm", "--apparent-size", root]).split()[0])
    files = int(run(["du", "-s", "--inodes", root]).split()[0])
    run(["truncate", "-s", f"{used + used // 10 + files // 250 + free}M", image])
    # This machine's e2fsprogs may enable features that the oldest kernel does not know.
    run(
        [
            "mkfs.ext4",
            "-q",
            "-F",
            "-m",
            "0",
            "-O",
            "^metadata_csum_seed,^orphan_file",
            "-N",
            str(files * 2),
            "-d",
            root,
            image,
        ]
    )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        release, _, processor = name.partition("/")
        print(name, unpacked(release, processor or "amd64"))
