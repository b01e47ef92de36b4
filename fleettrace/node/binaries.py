"""What is known of each memcached binary, stored by the SHA-256 of its content: a fleet of thousands runs a handful.

In memory for the run, on disk for the next one. A binary is fetched by one host while the others that run the same
content wait for the answer. A node's word for the hash is checked on what it sends, so no host can give another host's
binary a wrong analysis.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.errors import FleettraceError
from fleettrace.node.stored_analyses import AnalysisStore

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
        self._store = None if folder is None else AnalysisStore(folder)
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}
        self._known: dict[str, BinaryAnalysis] = {}

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
            known = self._known.get(content)
            if known is None and self._store is not None:
                known = self._store.load(content)
            if known is None:
                data = fetch()
                if sha256(data).hexdigest() != content:
                    raise BinaryChangedError("its content is not what the node said before")
                known = analyse(data)
                if self._store is not None:
                    self._store.save(content, known)
            self._known[content] = known
            return known
