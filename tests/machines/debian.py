"""Fetch and unpack Debian packages of any release and architecture, without changing this machine's apt lists.

Everything is stored in the cache of `tests.binary.builds`, each part by one rename.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from fleettrace.errors import FleettraceError
from fleettrace.lab.system import file_lock, run
from tests.binary.builds import cache
from tests.matrix.roots import mirror

__all__ = ["Apt", "built", "machines_cache", "source_line"]

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def machines_cache() -> Path:
    """Return the directory with the cached kernels, roots and images."""
    return cache() / "machines"


def built(path: Path, make: Callable[[Path], None]) -> Path:
    """Return `path`, which `make(scratch)` makes first if it does not exist.

    `make` writes to a scratch path, which is renamed to `path` at the end, so that an interrupted build is never used.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.parent / f".{path.name}.lock"):
        if not path.exists():
            scratch = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            try:
                make(scratch / path.name)
                (scratch / path.name).rename(path)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return path


def source_line(suite: str) -> str:
    """Return the sources.list line of a release. Older releases are no longer re-signed: their index may be expired."""
    return f"deb [signed-by={_KEYRING} check-valid-until=no] {mirror()} {suite} main"


@dataclass(frozen=True, slots=True)
class Apt:
    """The package index of one release and architecture."""

    suite: str
    arch: str

    def depends(self, package: str) -> list[str]:
        """Return the names of the packages that `package` depends on, alternatives included."""
        shown = self._run("apt-cache", "show", "--no-all-versions", package)
        line = re.search(r"^Depends: (.*)$", shown, re.MULTILINE)
        return re.findall(r"(?:^|[,|] )([a-z0-9][a-z0-9+.-]+)", line[1]) if line else []

    def unpack(self, packages: Sequence[str], target: Path) -> None:
        """Download packages (without their dependencies) and unpack them into the directory `target`."""
        target.mkdir(parents=True, exist_ok=True)
        downloads = Path(mkdtemp(prefix="deb.", dir=target))
        try:
            try:
                self._run("apt-get", "download", *packages, cwd=downloads)
            except FleettraceError:  # the cached index is older than the archive and names deleted packages
                self._run("apt-get", "update")
                self._run("apt-get", "download", *packages, cwd=downloads)
            for archive in sorted(downloads.glob("*.deb")):
                run(["dpkg-deb", "-x", archive, target], seconds=300)
        finally:
            shutil.rmtree(downloads)

    def _run(self, command: str, *words: str, cwd: Path | None = None) -> str:
        lists = built(machines_cache() / f"apt/{self.suite}-{self.arch}", self._update)
        return run([command, "-q", *self._options(lists), *words], seconds=600, cwd=cwd)

    def _update(self, directory: Path) -> None:
        for name in ("lists/partial", "archives/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "sources.list").write_text(source_line(self.suite) + "\n")
        (directory / "status").touch()
        run(["apt-get", "-q", *self._options(directory), "update"], seconds=300)

    def _options(self, directory: Path) -> list[str]:
        options = {
            "Dir::Etc::sourcelist": directory / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": directory / "lists",
            "Dir::State::status": directory / "status",
            "Dir::Cache": directory,
            "APT::Architecture": self.arch,
            "APT::Architectures::": self.arch,
            "APT::Sandbox::User": "root",
            # A mirror may be a snapshot: sid's index expires after a week, its signature does not.
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Retries": 3,
        }
        return [f"-o{name}={value}" for name, value in options.items()]
