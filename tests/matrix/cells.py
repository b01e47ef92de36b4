"""The ways to build memcached that `make test-builds` traces: every allowed pair of values occurs in some cell.

The table is computed and always the same: it repeatedly takes the first allowed combination with the most pairs that no
earlier one has. `impossible` has the combinations that cannot be built, with the reason.

    python -m tests.matrix.cells     # print the cells
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from functools import cache
from hashlib import sha256
from itertools import combinations, product

__all__ = [
    "BuildId",
    "Cell",
    "Compiler",
    "Extra",
    "Level",
    "Linker",
    "Position",
    "Symbols",
    "allowed",
    "cells",
    "impossible",
    "pairs",
]


class Compiler(StrEnum):
    GCC = "gcc"
    CLANG = "clang"


class Level(StrEnum):
    O0 = "O0"
    O1 = "O1"
    O2 = "O2"
    O3 = "O3"
    OS = "Os"


class Linker(StrEnum):
    LD = "ld"
    LLD = "lld"
    MOLD = "mold"
    GOLD = "gold-icf"


class Position(StrEnum):
    PIE = "pie"
    NO_PIE = "no-pie"
    STATIC = "static"


class BuildId(StrEnum):
    PRESENT = "id"
    NONE = "no-id"


class Symbols(StrEnum):
    KEPT = "symbols"
    STRIPPED = "stripped"


class Extra(StrEnum):
    NONE = "plain"
    LTO = "lto"
    PGO_LTO = "pgo-lto"
    CET = "cet"
    MCOUNT = "pg"
    FENTRY = "fentry"
    NOP = "nop-mcount"
    ADDRESS = "asan"
    NO_UNWIND = "no-unwind"


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to build memcached."""

    compiler: Compiler
    level: Level
    linker: Linker
    position: Position
    build_id: BuildId
    symbols: Symbols
    extra: Extra

    def __str__(self) -> str:
        return " ".join(astuple(self))


_LTO = (Extra.LTO, Extra.PGO_LTO)


def impossible(cell: Cell) -> str | None:
    """Return why the cell cannot be built, or None."""
    clang, extra = cell.compiler is Compiler.CLANG, cell.extra
    if extra in _LTO and clang and cell.linker is not Linker.LLD:
        return "clang's objects for link-time optimisation are read by lld; the other linkers need a plugin of LLVM's"
    if extra in _LTO and not clang and cell.linker is Linker.LLD:
        return "lld does not read gcc's objects for link-time optimisation"
    if extra is Extra.ADDRESS and cell.position is Position.STATIC:
        return "the address sanitizer has no static form"
    if extra is Extra.NOP and clang:
        return "clang has -mnop-mcount for s390 alone"
    if extra is Extra.NOP and cell.position is Position.PIE:
        return "gcc has no -mnop-mcount for position-independent code"
    return None


@cache
def allowed() -> tuple[Cell, ...]:
    """Return every combination that can be built, in a fixed, mixed order."""
    every = product(Compiler, Level, Linker, Position, BuildId, Symbols, Extra)
    possible = (cell for values in every if impossible(cell := Cell(*values)) is None)
    # In the order of the product, late cells would have the first value of each axis that no pair decides.
    return tuple(sorted(possible, key=lambda cell: sha256(str(cell).encode()).digest()))


def pairs(cell: Cell) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Yield each two values of a cell, with the names of their axes."""
    yield from combinations([(field.name, getattr(cell, field.name)) for field in fields(cell)], 2)


@cache
def cells() -> tuple[Cell, ...]:
    """Return the table."""
    numbers: dict[object, int] = {}
    masks = [sum(1 << numbers.setdefault(pair, len(numbers)) for pair in pairs(cell)) for cell in allowed()]
    missing = (1 << len(numbers)) - 1
    chosen = []
    while missing:
        best = max(range(len(masks)), key=lambda index: ((masks[index] & missing).bit_count(), -index))
        chosen.append(allowed()[best])
        missing &= ~masks[best]
    return tuple(chosen)


if __name__ == "__main__":
    for number, cell in enumerate(cells(), 1):
        print(number, cell)
