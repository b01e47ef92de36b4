"""Running a node's script as a session does: the script is evaluated, and standard input stays open behind it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

__all__ = ["ran"]


def ran(
    shell: Sequence[str], script: bytes, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run `script` to its end."""
    reading, writing = os.pipe()
    try:
        return subprocess.run(
            [*shell, "-c", os.fsdecode(script)], stdin=reading, capture_output=True, check=False, timeout=60, env=env
        )
    finally:
        os.close(reading)
        os.close(writing)
