"""The tree that is packed: the files of one commit, and the time that every package carries."""

from __future__ import annotations

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Source", "export", "is_modified"]


@dataclass(frozen=True, slots=True)
class Source:
    """A source tree, and the time of its last change."""

    root: Path
    epoch: int
    """Seconds since 1970: the time of every packed file (https://reproducible-builds.org/specs/source-date-epoch/)."""

    @property
    def version(self) -> str:
        """Return the version in pyproject.toml."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
        return str(project["version"])

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment for the programs that pack it."""
        return {**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch), "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def export(repository: Path, commit: str, directory: Path) -> Source:
    """Write the files of `commit` to the empty directory, without what git ignores or does not know."""
    epoch = int(_git(repository, "log", "-1", "--format=%ct", commit))
    archive = directory / ".archive.tar"
    _git(repository, "archive", "--format=tar", "--output", str(archive), commit)
    subprocess.run(["tar", "-C", directory, "-xf", archive], check=True)
    archive.unlink()
    return Source(directory, epoch)


def is_modified(repository: Path) -> bool:
    """Return whether files differ from the last commit."""
    return bool(_git(repository, "status", "--porcelain"))


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
