"""Bare Debian installations in directories, of any release and architecture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from fleettrace.lab.system import run
from tests.dist.installed import inside_root
from tests.machines.debian import built, machines_cache
from tests.machines.images import emulate, mmdebstrap

__all__ = ["Root", "bare_debian"]


@dataclass(frozen=True, slots=True)
class Root:
    """An installation."""

    path: Path
    inside: tuple[str, ...]
    """The beginning of a command line that runs in it."""

    def run(self, *command: str, seconds: float = 60) -> str:
        """Run a command in it and return its output."""
        return run([*self.inside, *command], seconds=seconds)

    def install(self, *packages: str | Path) -> None:
        """Install packages by apt: names, or files of this machine."""
        for package in packages:
            if isinstance(package, Path):
                shutil.copy(package, self.path / "tmp")
        names = [f"/tmp/{package.name}" if isinstance(package, Path) else package for package in packages]
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "Acquire::Retries=3")
        self.run(*apt, "update", seconds=600)
        self.run(*apt, "install", "--no-install-recommends", *names, seconds=1200)


@contextmanager
def bare_debian(suite: str, shared: Path, arch: str = "amd64") -> Iterator[Root]:
    """Unpack a release with its required packages and apt alone, and remove it again. `shared` is visible inside."""

    def install(tar: Path) -> None:
        mmdebstrap(suite, arch, ["ca-certificates"], tar, variant="minbase")

    if arch != "amd64":
        emulate()
    tar = built(machines_cache() / f"roots/bare-{suite}-{arch}.tar", install)
    path = Path(mkdtemp(prefix=f"fleettrace-{suite}-", dir="/var/tmp"))
    try:
        run(["tar", "-C", path, "-xpf", tar, "--exclude=./dev/*"], seconds=300)
        path.chmod(0o755)
        # mmdebstrap leaves manual pages out; the machine's name server serves the installation too.
        for setting in (path / "etc/dpkg/dpkg.cfg.d").iterdir():
            setting.unlink()
        shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")
        yield Root(path, tuple(inside_root(path, shared)))
    finally:
        shutil.rmtree(path)
