"""Store the analysis of each memcached binary by the SHA-256 of its content: thousands of hosts share a few binaries.

The catalog stores analyses in memory for the run and on disk for later runs. One host's thread fetches and analyses a
binary while the threads of other hosts with the same content wait. The content that a node sends is checked against the
hash that the node announced, so no host can give another host's binary a wrong analysis.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.binary.analysis import ANALYSIS, BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError
from fleettrace.errors import FleettraceError

__all__ = ["BinaryCatalog", "BinaryChangedError", "default_cache_dir"]


class BinaryChangedError(FleettraceError):
    """The content of a fetched binary does not have the announced hash."""


def default_cache_dir() -> Path:
    """Return the directory of stored analyses: `$XDG_CACHE_HOME/fleettrace/binaries`, by default in `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleettrace" / "binaries"


class BinaryCatalog:
    """Analyses by content, for many threads. With a `directory` of None they are stored in memory only."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}
        self._known: dict[str, BinaryAnalysis] = {}

    def get(self, announced: str | None, fetch: Callable[[], bytes]) -> BinaryAnalysis:
        """Return the analysis of the binary with the `announced` SHA-256 (hex).

        `fetch` returns the binary's bytes; it is called for an unknown hash, and always for None. Raises `BinaryError`
        for an unsupported binary, `BinaryChangedError` for fetched content with another hash, and what `fetch` raises.
        """
        if announced is None:
            data = fetch()
            return self._get(sha256(data).hexdigest(), lambda: data)
        return self._get(announced, fetch)

    def _get(self, content: str, fetch: Callable[[], bytes]) -> BinaryAnalysis:
        with self._lock:
            building = self._building.setdefault(content, threading.Lock())
        with building:
            known = self._known.get(content) or self._load(content)
            if known is None:
                data = fetch()
                if sha256(data).hexdigest() != content:
                    raise BinaryChangedError("its content does not have the hash that the node reported before")
                known = analyse(data)
                self._store(content, known)
            self._known[content] = known
            return known

    def _path(self, content: str) -> Path | None:
        return None if self._directory is None else self._directory / f"{content}-{ANALYSIS}.json"

    def _load(self, content: str) -> BinaryAnalysis | None:
        path = self._path(content)
        try:
            return None if path is None else BinaryAnalysis.from_dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, BinaryError):
            return None

    def _store(self, content: str, analysis: BinaryAnalysis) -> None:
        path = self._path(content)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, json.dumps(analysis.to_dict()).encode())
        except OSError:
            # The cache only saves time: a full or read-only disk must not stop a sweep.
            return
