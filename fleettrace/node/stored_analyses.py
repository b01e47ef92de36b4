"""Store analyses of binaries on disk, and load only those that are as they were stored.

An analysis decides where a probe is set: a damaged or forged one could crash memcached. A stored analysis is ignored,
and the binary is analysed again, unless its digest is right, it agrees with itself (binary/stored.py), and no other
user can have written it: the file and its directory belong to the effective user, and group and others may not write.
"""

from __future__ import annotations

import json
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

from fleettrace.atomic_file import write_atomically
from fleettrace.binary.analysis import ANALYSIS, BinaryAnalysis
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.stored import check_stored

__all__ = ["AnalysisStore"]

MAX_STORED = 16 << 20
"""Bytes of the largest stored analysis that is loaded; real ones have 5 to 60 KB."""


class AnalysisStore:
    """The stored analyses in one directory, by the SHA-256 of the binary's content."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, content: str) -> BinaryAnalysis | None:
        """Return the stored analysis of the binary with this hash, or None if there is none to trust."""
        try:
            stored = json.loads(self._read(content))
            if stored["digest"] != _digest(content, stored["analysis"]):
                return None
            analysis = BinaryAnalysis.from_dict(stored["analysis"])
            check_stored(analysis)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, BinaryError):
            return None
        return analysis

    def save(self, content: str, analysis: BinaryAnalysis) -> None:
        """Store an analysis where that is possible: the store only saves time, so a full disk stops no run."""
        fields = analysis.to_dict()
        stored = {"digest": _digest(content, fields), "analysis": fields}
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _private(self._directory.stat()):
                return
            # A file that may not be loaded would pass its mode on to its replacement.
            self._path(content).unlink(missing_ok=True)
            write_atomically(self._path(content), json.dumps(stored).encode(), 0o600)
        except OSError:
            return

    def _path(self, content: str) -> Path:
        return self._directory / f"{content}-{ANALYSIS}.json"

    def _read(self, content: str) -> bytes:
        """Return a stored file. Raises `OSError` where another user can have written it."""
        descriptor = os.open(self._path(content), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not (stat.S_ISREG(status.st_mode) and _private(status) and _private(self._directory.stat())):
                raise PermissionError(f"another user can write {file.name}")
            return file.read(MAX_STORED)


def _private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _digest(content: str, analysis: Any) -> str:
    """Return the digest of an analysis as the one of the binary with hash `content`."""
    return sha256(f"{content}\n{json.dumps(analysis, sort_keys=True)}".encode()).hexdigest()
