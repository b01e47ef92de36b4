"""Watching every process of the machine for something that none may show."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from fleettrace.lab.system import all_pids

__all__ = ["Watch"]


class Watch:
    """While the block runs, notes each process whose arguments or environment hold one of the words."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [word.encode() for word in words]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.told: list[str] = []
        self.looks = 0

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.looks += 1
            for pid in all_pids():
                for name in ("cmdline", "environ"):
                    try:
                        data = Path(f"/proc/{pid}/{name}").read_bytes()
                    except OSError:
                        continue
                    if any(word in data for word in self._words):
                        self.told.append(f"{pid} {name}: {data[:200]!r}")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
