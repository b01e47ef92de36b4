"""Lay out columns: numbers keep their width, and one column of names takes the remaining width.

All cells are `Text`, in which rich does not parse markup. The caller escapes the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleettrace.report.escape import shorten

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Column", "Name", "Screen", "grid", "heading"]

_INDENT = 2
_NARROWEST = 8
"""The smallest width of a name in cells: below it, the line wraps instead."""


@dataclass(frozen=True, slots=True)
class Screen:
    """Properties of the output."""

    width: int | None
    """Columns; None: nothing is shortened."""
    ascii_only: bool

    @property
    def wide(self) -> bool:
        """Whether there is room for optional columns."""
        return self.width is None or self.width >= 140

    @property
    def widest(self) -> bool:
        """Whether there is room for all optional columns."""
        return self.width is None or self.width >= 160

    @property
    def roomy(self) -> bool:
        """Whether there is room for one optional column."""
        return self.width is None or self.width >= 110

    @property
    def gap(self) -> int:
        """Cells between columns."""
        return 1 if self.width is not None and self.width < 100 else 2

    @property
    def ellipsis(self) -> str:
        """Replaces the middle of a shortened name."""
        return "..." if self.ascii_only else "…"


@dataclass(frozen=True, slots=True)
class Name:
    """A name that is shortened to fit, and a remark after it that is never shortened."""

    name: str
    remark: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of cells, as wide as its widest."""

    title: str
    cells: Sequence[str | Text] = field(default_factory=list)
    right: bool = True
    style: str = ""


def heading(title: str, remark: str = "") -> Text:
    """Return the heading of a section."""
    from rich.text import Text

    return Text.assemble((title.upper(), "bold"), (f"  {remark}" if remark else "", ""))


def grid(screen: Screen, columns: Iterable[Column], title: str, names: Sequence[Name]) -> Text:
    """Return a table of `columns`, with the `names` under `title` as the last column.

    This does not use rich's tables, which take minutes for thousands of rows.
    """
    from rich.text import Text

    shown = [column for column in columns if any(len(cell) for cell in column.cells)]
    widths = [max([_cells(column.title), *map(_cells, column.cells)]) for column in shown]
    room = (
        None
        if screen.width is None
        else max(screen.width - _INDENT - sum(widths) - screen.gap * len(widths), _NARROWEST)
    )
    table = Text(no_wrap=True, overflow="ignore", end="")
    _append(table, screen, shown, widths, [column.title for column in shown])
    table.append(title)
    table.stylize("dim")
    for index, name in enumerate(names):
        table.append("\n")
        _append(table, screen, shown, widths, [column.cells[index] for column in shown])
        _append_name(table, name, room, screen.ellipsis)
    return table


def _append(
    line: Text, screen: Screen, columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str | Text]
) -> None:
    """Append one aligned cell of each column to the line."""
    line.append(" " * _INDENT)
    for column, width, cell in zip(columns, widths, cells, strict=True):
        blank = " " * (width - _cells(cell))
        style = column.style or None
        line.append(blank if column.right else "")
        line.append(cell, style) if isinstance(cell, str) else line.append_text(cell)
        line.append(("" if column.right else blank) + " " * screen.gap)


def _append_name(line: Text, name: Name, room: int | None, ellipsis: str) -> None:
    from rich.cells import cell_len

    remark = f"  {name.remark}" if name.remark else ""
    fitted = name.name if room is None else shorten(name.name, room - cell_len(remark), ellipsis)
    line.append(fitted, name.style or None)
    line.append(remark, "yellow")


def _cells(cell: str | Text) -> int:
    from rich.cells import cell_len

    return cell_len(cell) if isinstance(cell, str) else cell.cell_len
