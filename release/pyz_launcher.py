"""Unpack `fleettrace.pyz` once in the user's cache directory, and run fleettrace from there.

Compiled libraries cannot be imported from a zip file. This module runs inside the archive, where it finds only the
standard library.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Interpreter", "Manifest", "main", "refusal", "unpack"]

_NAME = "fleettrace.pyz"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds: `manifest.json`."""

    identity: str
    """A hash of the content."""
    version: str
    pythons: Sequence[str]
    """The versions of CPython that it has libraries for, lowest first."""
    machines: Sequence[str]
    glibc: str
    """The lowest version of glibc."""
    compiled: Sequence[str]
    """The libraries with compiled parts."""

    @classmethod
    def read(cls, text: bytes) -> Manifest:
        """Return the manifest in this JSON text."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python, and what it runs on."""

    implementation: str
    version: str
    has_gil: bool
    """False for a free-threaded build, which loads other extension modules."""
    machine: str
    glibc: str
    """The version, or an empty string for another C library."""

    @classmethod
    def current(cls) -> Interpreter:
        """Return the Python that runs this."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        machine = os.uname().machine if sys.maxsize > 2**32 else f"32-bit {os.uname().machine}"
        return cls(sys.implementation.name, version, "t" not in sys.abiflags, machine, _glibc())


def _glibc() -> str:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").rpartition(" ")[2]
    except (ValueError, OSError):
        return ""


def refusal(manifest: Manifest, python: Interpreter) -> str | None:
    """Return the reason why `python` cannot run the archive, with the cure, or None if it can."""
    pythons = manifest.pythons
    if python.implementation != "cpython" or python.version not in pythons or not python.has_gil:
        kind = "free-threaded CPython" if not python.has_gil else python.implementation
        return (
            f"needs CPython {pythons[0]} to {pythons[-1]}; this is {kind} {python.version} ({sys.executable}): "
            f"run it with another Python, such as `python{pythons[0]} {_NAME}`, or install the wheel with pipx"
        )
    if python.machine not in manifest.machines or _numbers(python.glibc) < _numbers(manifest.glibc):
        return (
            f"has compiled libraries ({', '.join(manifest.compiled)}) for {' and '.join(manifest.machines)} with "
            f"glibc {manifest.glibc} or newer; this is {python.machine} with "
            f"{f'glibc {python.glibc}' if python.glibc else 'another C library'}: "
            "install the wheel with pipx, which finds or builds them"
        )
    return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def cache_directory() -> Path:
    """Return the directory of the unpacked archives. cron and systemd may set no HOME."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        cache = Path(os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir, ".cache")
    return cache / "fleettrace/pyz"


def unpack(archive: Path, manifest: Manifest, machine: str, base: Path) -> Path:
    """Return the directory below `base` with the unpacked archive. A rename completes it: no start sees a part of it.

    Raises OSError, also when another user owns the directory or may write to it.
    """
    target = base / f"{manifest.version}-{machine}-{manifest.identity}"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(base)
    if not target.is_dir():
        _extract(archive, ("common.zip", f"{machine}.zip"), target)
    _refuse_foreign(target)
    return target


def _refuse_foreign(directory: Path) -> None:
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(1, "another user owns it or may write to it", str(directory))


def _extract(archive: Path, parts: tuple[str, ...], target: Path) -> None:
    # Only the first start needs these: the others print help within 0.15 s.
    import shutil
    import zipfile
    from tempfile import mkdtemp

    scratch = Path(mkdtemp(prefix=".new-", dir=target.parent))
    try:
        with zipfile.ZipFile(archive) as outer:
            for part in parts:
                with outer.open(part) as file, zipfile.ZipFile(file) as inner:
                    inner.extractall(scratch)
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():  # else another start has completed it meanwhile
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> int:
    """Unpack the archive if needed and run the command line; return the exit code of a failure to do so."""
    archive = Path(sys.path[0])
    manifest = Manifest.read(_read(archive, "manifest.json"))
    python = Interpreter.current()
    if reason := refusal(manifest, python):
        return _report(reason)
    try:
        site = unpack(archive, manifest, python.machine, cache_directory())
    except OSError as error:
        place = error.filename or cache_directory()
        return _report(
            f"cannot unpack to {place}: {error.strerror}: "
            "set XDG_CACHE_HOME to a directory of your own with 150 MB free"
        )
    sys.path[0] = str(site)
    from fleettrace.cli.main import entry

    entry()
    return 0


def _read(archive: Path, name: str) -> bytes:
    """Return a member of the archive, by the importer that has read its table of contents already."""
    from zipimport import zipimporter

    return zipimporter(str(archive)).get_data(f"{archive}/{name}")


def _report(message: str) -> int:
    print(f"fleettrace: {_NAME}: {message}", file=sys.stderr)
    return 2
