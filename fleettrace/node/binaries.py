"""What is known of each memcached binary, stored by the SHA-256 of its content: a fleet of thousands runs a handful.

In memory for the run, on disk for the next one. A binary is fetched by one host while the others that run the same
content wait for the answer, a few seconds at most. A node's word for the hash is checked on what it sends, so no host
can give another host's binary a wrong analysis.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.errors import FleettraceError
from fleettrace.node.stored_analyses import AnalysisStore

__all__ = ["BinaryCatalog", "BinaryChangedError", "default_cache_dir"]


PATIENCE_S = 5.0
"""Seconds; a fetch takes a fraction of one, and a hostile host can stall its own for a minute."""


class BinaryChangedError(FleettraceError):
    """A binary is not the one that was announced."""


def default_cache_dir() -> Path:
    """Where analyses are kept: `$XDG_CACHE_HOME/fleettrace/binaries`, `~/.cache` standing in."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleettrace" / "binaries"


class BinaryCatalog:
    """Analyses by content, from many threads. `folder` None keeps them in memory only.

    A host waits at most `patience_s` seconds for another host's fetch of the same binary, and then fetches it itself.
    """

    def __init__(self, folder: Path | None, patience_s: float = PATIENCE_S) -> None:
        self._store = None if folder is None else AnalysisStore(folder)
        self._patience_s = patience_s
        self._answered = threading.Condition()
        """Guards what follows, and is notified at the end of every fetch."""
        self._fetching: Counter[str] = Counter()
        """How many hosts fetch a content at present."""
        self._analysing: dict[str, threading.Lock] = {}
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
        known = self._turn(content)
        if known is not None:
            return known
        try:
            data = fetch()
            if sha256(data).hexdigest() != content:
                raise BinaryChangedError("its content is not what the node said before")
            return self._analysed(content, data)
        finally:
            with self._answered:
                self._fetching[content] -= 1
                self._answered.notify_all()

    def _turn(self, content: str) -> BinaryAnalysis | None:
        """Wait until the analysis is known, or until the caller is to fetch the binary itself (None): no other host
        does so, or one has taken too long. No lock is held during a fetch, which a host may stall as it likes."""
        until = time.monotonic() + self._patience_s
        with self._answered:
            while True:
                known = self._known.get(content)
                if known is None and not self._fetching[content]:
                    known = self._stored(content)
                if known is not None:
                    return known
                left_s = until - time.monotonic()
                if not self._fetching[content] or left_s <= 0:
                    self._fetching[content] += 1
                    return None
                self._answered.wait(left_s)

    def _stored(self, content: str) -> BinaryAnalysis | None:
        known = None if self._store is None else self._store.load(content)
        if known is not None:
            self._known[content] = known
        return known

    def _analysed(self, content: str, data: bytes) -> BinaryAnalysis:
        """Return the analysis of a binary with the right hash; the first host that has fetched it makes it."""
        with self._answered:
            analysing = self._analysing.setdefault(content, threading.Lock())
        with analysing:
            known = self._known.get(content)
            if known is None:
                known = analyse(data)
                self._known[content] = known
                if self._store is not None:
                    self._store.save(content, known)
            return known
