"""One directory with fleettrace and its libraries that every supported Python on one machine type imports from.

An extension module has the version of its Python in its name, or serves every version (`abi3`), so the wheels for all
versions fit into one directory. The libraries are those of requirements/runtime.txt, verified by their hashes.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from release.source import Source

__all__ = ["GLIBC", "MACHINES", "PYTHONS", "ReleaseError", "build_site", "files_below", "packages_with"]

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions of CPython that all libraries have wheels for."""
MACHINES = ("x86_64", "aarch64")
"""Machine types, as `uname -m` prints them."""
GLIBC = "2.28"
"""The lowest glibc that the libraries' wheels run with (manylinux_2_28)."""
_DROPPED = ("bin", "share", "capstone/include")
"""Other programs, manual pages (packed elsewhere), and C headers."""
_INSTALLER_FILES = {"RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", ".lock"}
"""Files that describe an installation by pip or uv, and differ between wheels of one version."""


class ReleaseError(Exception):
    """The packages cannot be built from these libraries; the message has the reason."""


def build_site(machine: str, source: Source, wheel: Path, target: Path) -> None:
    """Fill the new directory `target` with the wheel and its libraries.

    Raises `ReleaseError` when the wheels for two versions of Python have different files of one name.
    """
    lock = ["--require-hashes", "--requirement", str(source.root / "requirements/runtime.txt")]
    for python in PYTHONS:
        _add(machine, python, lock, target)
    _add(machine, PYTHONS[0], [str(wheel)], target)


def _add(machine: str, python: str, what: list[str], target: Path) -> None:
    """Install for one version of Python, and merge the files into `target`."""
    with TemporaryDirectory(prefix="fleettrace-site-") as directory:
        platform = f"{machine}-manylinux_{GLIBC.replace('.', '_')}"
        uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", sys.executable]
        # Only wheels: what is built here would suit this machine alone.
        options = ["--no-deps", "--only-binary", ":all:", "--link-mode", "copy", "--target", directory]
        for_python = ["--python-version", python, "--python-platform", platform]
        subprocess.run([*uv, *options, *for_python, *what], check=True)
        for path in files_below(Path(directory)):
            name = path.relative_to(directory)
            if not _is_dropped(name):
                _merge(path, target / name)


def _is_dropped(name: Path) -> bool:
    return name.name in _INSTALLER_FILES or any(name.is_relative_to(dropped) for dropped in _DROPPED)


def _merge(path: Path, target: Path) -> None:
    if target.exists():
        if not filecmp.cmp(path, target, shallow=False):
            raise ReleaseError(f"{target}: differs between wheels for Python {' and '.join(PYTHONS)}")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)


def files_below(directory: Path) -> Iterator[Path]:
    """Yield every file below a directory, in the order of the names."""
    for parent, directories, names in os.walk(directory):
        directories.sort()
        yield from (Path(parent, name) for name in sorted(names))


def packages_with(names: list[Path]) -> list[str]:
    """Return the top-level packages of these relative paths, such as `cryptography`; no metadata."""
    tops = {name.parts[0].partition(".")[0] for name in names if ".dist-info" not in name.parts[0]}
    return sorted(top.lstrip("_") for top in tops)
