"""Rows of words as aligned columns, for commands that are no reports."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["columns"]


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """A line for each row, two spaces between its columns; those in `right` end at the right, the last one is free.

    The cells must be escaped already.
    """
    from rich.cells import cell_len

    number = max(map(len, rows), default=0)
    widths = [max((cell_len(row[place]) for row in rows if place < len(row)), default=0) for place in range(number)]
    lines = []
    for row in rows:
        cells = []
        for place, cell in enumerate(row):
            gap = " " * (widths[place] - cell_len(cell))
            cells.append(gap + cell if place in right else cell + gap)
        lines.append("  ".join(cells).rstrip())
    return lines
