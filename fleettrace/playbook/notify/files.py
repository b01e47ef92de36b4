"""Files that others read while we write them: replaced in one step, or left as they were."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: Path, text: str, mode: int) -> None:
    """Put `text` at `path`; readers see the old file or the new one, and a killed writer leaves the old. Raises
    `OSError`."""
    place = path.resolve()
    descriptor, draft = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(draft).replace(place)
    except BaseException:
        with suppress(OSError):
            Path(draft).unlink()
        raise
