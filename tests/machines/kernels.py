"""Kernels as Debian ships them, by short names such as `6.1`, unpacked from their packages.

python -m tests.machines.kernels 6.1 6.12-rt     # fetch these now
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from fleettrace.lab.system import run
from tests.machines.debian import Apt, built, machines_cache

__all__ = ["KERNELS", "Kernel", "kernel"]

KERNELS = {
    "5.10": ("bullseye", "linux-image"),
    "6.1": ("bookworm", "linux-image"),
    "6.12": ("trixie", "linux-image"),
    "6.12-rt": ("trixie", "linux-image-rt"),
    "7.2": ("sid", "linux-image"),
    "7.3": ("trixie-backports", "linux-image"),
}
"""Suite and metapackage of each kernel. sid and backports move on: the name says what they had in November 2026, and
`Kernel.release` what was really booted."""
_PARTS = ("linux-image-", "linux-binary-", "linux-modules-")
"""Since 7.2 the image and the modules are in packages of their own."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unpacked kernel: `release` is its `uname -r`."""

    name: str
    arch: str
    tree: Path

    @property
    def suite(self) -> str:
        """The release that it is of."""
        return KERNELS[self.name][0]

    @property
    def modules(self) -> Path:
        return self.tree / "lib/modules"

    @property
    def release(self) -> str:
        return next(path.name for path in self.modules.iterdir())

    @property
    def image(self) -> Path:
        found = [*self.tree.glob("boot/vmlinu*"), *self.tree.glob("usr/lib/modules/*/vmlinu*")]
        return found[0]


def kernel(name: str, arch: str = "amd64") -> Kernel:
    """Return the kernel of this name, fetched if it is not cached. Raises `FleettraceError` when it cannot be had."""
    suite, package = KERNELS[name]
    apt = Apt(suite, arch)

    def fetch(tree: Path) -> None:
        first = next(one for one in apt.depends(f"{package}-{arch}") if one.startswith("linux-image-"))
        parts = [one for one in apt.depends(first) if one.startswith(_PARTS)]
        apt.unpack([first, *parts], tree)
        if not (tree / "lib").exists():  # where depmod expects the modules
            (tree / "lib").symlink_to("usr/lib")
        run(["depmod", "-b", tree, Kernel(name, arch, tree).release])

    return Kernel(name, arch, built(machines_cache() / f"kernels/{name}-{arch}", fetch))


if __name__ == "__main__":
    for wanted in sys.argv[1:] or KERNELS:
        short, _, processor = wanted.partition("/")
        one = kernel(short, processor or "amd64")
        print(wanted, one.release, one.image, one.modules)
