"""Watch every process of the machine for secrets in its arguments or environment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from fleettrace.lab.system import all_pids

__all__ = ["Watch"]


class Watch:
    """Records, while the block runs, each process with one of the secrets in its arguments or environment."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.leaks: list[str] = []
        self.samples = 0

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self.samples += 1
            for pid in all_pids():
                for name in ("cmdline", "environ"):
                    try:
                        data = Path(f"/proc/{pid}/{name}").read_bytes()
                    except OSError:
                        continue
                    if any(secret in data for secret in self._secrets):
                        self.leaks.append(f"{pid} {name}: {data[:200]!r}")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
