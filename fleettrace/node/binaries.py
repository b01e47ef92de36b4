"""What is known of each memcached binary, stored by the SHA-256 of its content: a fleet of thousands runs a handful.

In memory for the run, on disk for the next one. A binary is fetched by one host while the others that run the same
content wait for the answer. A node's word for the hash is checked on what it sends, so no host can give another host's
binary a wrong analysis.
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
    """A binary is not the one that was announced."""


def default_cache_dir() -> Path:
    """Where analyses are kept: `$XDG_CACHE_HOME/fleettrace/binaries`, `~/.cache` standing in."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleettrace" / "binaries"


class BinaryCatalog:
    """Analyses by content, from many threads. `folder` None keeps them in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}
        self._known: dict[str, BinaryAnalysis] = {}
        self._refused: dict[str, BinaryError] = {}
        """Why binaries are not understood: to find that out again may take seconds."""

    def get(self, announced: str | None, fetch: Callable[[], bytes]) -> BinaryAnalysis:
        """Return the analysis of the binary with this SHA-256 (hex); `fetch` gives all of it when it is not known yet.

        Where no hash is announced it is always fetched. Raises `BinaryError` when it is not a binary that can be
        understood, `BinaryChangedError` when what was fetched has another hash, and what `fetch` raises.
        """
        if announced is None:
            data = fetch()
            return self._get(sha256(data).hexdigest(), lambda: data)
        return self._get(announced, fetch)

    def _get(self, content: str, fetch: Callable[[], bytes]) -> BinaryAnalysis:
        with self._lock:
            building = self._building.setdefault(content, threading.Lock())
        with building:
            if content in self._refused:
                raise BinaryError(str(self._refused[content]))
            known = self._known.get(content) or self._load(content)
            if known is None:
                data = fetch()
                if sha256(data).hexdigest() != content:
                    raise BinaryChangedError("its content is not what the node said before")
                try:
                    known = analyse(data)
                except BinaryError as error:
                    self._refused[content] = error
                    raise
                self._keep(content, known)
            self._known[content] = known
            return known

    def _path(self, content: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{content}-{ANALYSIS}.json"

    def _load(self, content: str) -> BinaryAnalysis | None:
        path = self._path(content)
        try:
            return None if path is None else BinaryAnalysis.from_dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, BinaryError):
            return None

    def _keep(self, content: str, analysis: BinaryAnalysis) -> None:
        path = self._path(content)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, json.dumps(analysis.to_dict()).encode())
        except OSError:
            # The cache only saves time: a full or read-only disk must not stop a sweep.
            return
