"""Store the analysis of each memcached binary by the SHA-256 of its content: thousands of hosts share a few binaries.

The catalog stores analyses in memory for the run and on disk for later runs. One host's thread fetches a binary while
the threads of other hosts with the same content wait, a few seconds at most. The content that a node sends is checked
against the hash that the node announced, so no host can give another host's binary a wrong analysis.
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
from fleettrace.binary.elf import BinaryError
from fleettrace.errors import FleettraceError
from fleettrace.node.stored_analyses import AnalysisStore

__all__ = ["BinaryCatalog", "BinaryChangedError", "default_cache_dir"]


PATIENCE_S = 5.0
"""Seconds; a fetch takes a fraction of one, and a hostile host can stall its own for a minute."""


class BinaryChangedError(FleettraceError):
    """The content of a fetched binary does not have the announced hash."""


def default_cache_dir() -> Path:
    """Return the directory of stored analyses: `$XDG_CACHE_HOME/fleettrace/binaries`, by default in `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fleettrace" / "binaries"


class BinaryCatalog:
    """Analyses by content, for many threads. With a `directory` of None they are stored in memory only.

    A host waits at most `patience_s` seconds for another host's fetch of the same binary, and then fetches it itself.
    """

    def __init__(self, directory: Path | None, patience_s: float = PATIENCE_S) -> None:
        self._store = None if directory is None else AnalysisStore(directory)
        self._patience_s = patience_s
        self._answered = threading.Condition()
        """Guards what follows, and is notified at the end of every fetch."""
        self._fetching: Counter[str] = Counter()
        """The number of hosts that are fetching a content."""
        self._analysing: dict[str, threading.Lock] = {}
        self._known: dict[str, BinaryAnalysis] = {}
        self._refused: dict[str, BinaryError] = {}
        """The errors of unsupported binaries: to analyse one again may take seconds."""

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
        known = self._wait(content)
        if known is not None:
            return known
        try:
            data = fetch()
            if sha256(data).hexdigest() != content:
                raise BinaryChangedError("its content does not have the hash that the node reported before")
            return self._analysed(content, data)
        finally:
            with self._answered:
                self._fetching[content] -= 1
                self._answered.notify_all()

    def _wait(self, content: str) -> BinaryAnalysis | None:
        """Wait until the analysis is known, or until the caller is to fetch the binary itself (None): no other host
        does so, or one has taken too long. No lock is held during a fetch, which a host may stall."""
        until = time.monotonic() + self._patience_s
        with self._answered:
            while True:
                self._check_supported(content)
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

    def _check_supported(self, content: str) -> None:
        if content in self._refused:
            raise BinaryError(str(self._refused[content]))

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
            self._check_supported(content)
            known = self._known.get(content)
            if known is None:
                try:
                    known = analyse(data)
                except BinaryError as error:
                    self._refused[content] = error
                    raise
                self._known[content] = known
                if self._store is not None:
                    self._store.save(content, known)
            return known
