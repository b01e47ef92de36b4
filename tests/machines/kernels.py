"""Debian's kernels, by short names such as `6.1`, unpacked from their packages.

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
"""Suite and metapackage of each kernel. sid and backports change: the name is the version of November 2026, and
`Kernel.release` the version that was booted."""
_PARTS = ("linux-image-", "linux-binary-", "linux-modules-")
"""From 7.2 on, the image and the modules are separate packages."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unpacked kernel: `release` is its `uname -r`."""

    name: str
    arch: str
    tree: Path

    @property
    def suite(self) -> str:
        """Return the Debian release of the kernel."""
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
    """Return the kernel of this name, fetching it if it is not cached. Raises `FleettraceError` when that fails."""
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
    for argument in sys.argv[1:] or KERNELS:
        short, _, processor = argument.partition("/")
        one = kernel(short, processor or "amd64")
        print(argument, one.release, one.image, one.modules)
