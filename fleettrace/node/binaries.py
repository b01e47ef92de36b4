"""What is known of each memcached binary, kept by build id: a fleet of thousands runs a handful of builds.

In memory for the run, on disk for the next one. A binary is fetched by one host while the others that run the same
build wait for the answer.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from fleettrace.binary.analysis import ANALYSIS, BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError, build_id_from_head

__all__ = ["BinaryCatalog", "default_cache_dir"]


def default_cache_dir() -> Path:
    """Where analyses are kept: `$XDG_CACHE_HOME/fleettrace/binaries`, `~/.cache` standing in."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleettrace" / "binaries"


class BinaryCatalog:
    """Analyses by build id, from many threads. `folder` None keeps them in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._building: dict[str, threading.Lock] = {}
        self._known: dict[str, BinaryAnalysis] = {}

    def get(self, head: bytes, fetch: Callable[[], bytes]) -> BinaryAnalysis:
        """The analysis of the binary that begins with `head`; `fetch` gives all of it when it is not known yet.

        Raises `BinaryError` when it is not a binary that can be understood, and what `fetch` raises.
        """
        build_id = build_id_from_head(head)
        if build_id is None:
            return analyse(fetch())
        with self._lock:
            building = self._building.setdefault(build_id, threading.Lock())
        with building:
            known = self._known.get(build_id) or self._load(build_id)
            if known is None:
                known = analyse(fetch())
                if known.build_id != build_id:
                    raise BinaryError(
                        "the binary is not the one whose first pages were seen: was it replaced meanwhile?"
                    )
                self._keep(build_id, known)
            self._known[build_id] = known
            return known

    def _path(self, build_id: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{build_id}-{ANALYSIS}.json"

    def _load(self, build_id: str) -> BinaryAnalysis | None:
        path = self._path(build_id)
        try:
            return None if path is None else BinaryAnalysis.from_dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, BinaryError):
            return None

    def _keep(self, build_id: str, analysis: BinaryAnalysis) -> None:
        path = self._path(build_id)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
            draft.write_text(json.dumps(analysis.to_dict()), "utf-8")
            draft.replace(path)
        except OSError:
            # The cache only saves time: a full or read-only disk must not stop a sweep.
            return
