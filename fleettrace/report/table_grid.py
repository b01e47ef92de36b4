"""Columns side by side: the numbers keep their width, one column of names takes what room is left.

Everything is `Text`, which rich never reads markup in; names come here escaped already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleettrace.report.escape import shorten

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["Column", "Name", "Screen", "grid", "heading"]

_INDENT = 2
_NARROWEST = 8
"""Cells that a name gets at least: better a line that wraps than a name that says nothing."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What is drawn on."""

    width: int | None
    """Columns; None: nothing is cut."""
    ascii_only: bool

    @property
    def wide(self) -> bool:
        """Whether there is room for what is good to know."""
        return self.width is None or self.width >= 120

    @property
    def gap(self) -> int:
        """Cells between columns."""
        return 1 if self.width is not None and self.width < 100 else 2

    @property
    def ellipsis(self) -> str:
        """What stands for the middle of a name that is cut."""
        return "..." if self.ascii_only else "…"


@dataclass(frozen=True, slots=True)
class Name:
    """A name that is shortened to fit, and a remark after it that is not."""

    name: str
    remark: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of finished cells, as wide as its widest."""

    title: str
    cells: Sequence[str | Text] = field(default_factory=list)
    right: bool = True
    style: str = ""


def heading(title: str, remark: str = "") -> Text:
    """The line that begins a part of the screen."""
    from rich.text import Text

    return Text.assemble((title.upper(), "bold"), (f"  {remark}" if remark else "", ""))


def grid(screen: Screen, columns: Iterable[Column], title: str, names: Sequence[Name]) -> RenderableType:
    """A table of `columns`, with the `names` under `title` at its end."""
    from rich.padding import Padding
    from rich.table import Table

    shown = [column for column in columns if any(len(cell) for cell in column.cells)]
    table = Table(box=None, pad_edge=False, padding=(0, screen.gap, 0, 0), header_style="dim", show_edge=False)
    used = _INDENT
    for column in shown:
        width = max([_cells(column.title), *(_cells(cell) for cell in column.cells)])
        used += width + screen.gap
        justify = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, style=column.style, no_wrap=True, min_width=width)  # type: ignore[arg-type]
    table.add_column(title, no_wrap=True)
    room = None if screen.width is None else max(screen.width - used, _NARROWEST)
    for index, name in enumerate(names):
        table.add_row(*(_text(column.cells[index]) for column in shown), _named(name, room, screen.ellipsis))
    return Padding(table, (0, 0, 0, _INDENT))


def _named(name: Name, room: int | None, ellipsis: str) -> Text:
    from rich.cells import cell_len
    from rich.text import Text

    remark = f"  {name.remark}" if name.remark else ""
    fitted = name.name if room is None else shorten(name.name, room - cell_len(remark), ellipsis)
    return Text.assemble((fitted, name.style), (remark, "yellow"), no_wrap=True, end="")


def _cells(cell: str | Text) -> int:
    from rich.cells import cell_len

    return cell_len(cell) if isinstance(cell, str) else cell.cell_len


def _text(cell: str | Text) -> Text:
    from rich.text import Text

    return Text(cell) if isinstance(cell, str) else cell
