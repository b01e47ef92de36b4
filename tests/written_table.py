"""Write the results of a long test between two marks of a document."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["write_between"]


def write_between(document: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between the marks `begin` and `end`."""
    marks = f"{re.escape(begin)}.*?{re.escape(end)}"
    replaced = re.sub(marks, lambda _: f"{begin}\n{text}\n{end}", document.read_text(), flags=re.DOTALL)
    document.write_text(replaced)
