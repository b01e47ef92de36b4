"""Fold many host names into ranges such as `cache-[001-064]`, and equal errors into one.

Folding loses nothing: expanding every range gives exactly the original names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Folded", "expand", "fold", "fold_errors", "fold_list"]

_NUMBER = re.compile(r"([0-9]+)")
_RESERVED = frozenset("[],")
_RANGE = re.compile(r"\[([0-9,-]+)\]")

_Name = tuple[str, ...]
"""A name in parts: text, number, text, number, ... text. After folding, a number is a set of ranges."""


def fold(names: Iterable[str]) -> str:
    """Return the distinct names as comma-separated folded names: `cache-[001-064],db1`."""
    return ",".join(fold_list(names))


def fold_list(names: Iterable[str]) -> list[str]:
    """Return the folded names, sorted."""
    literal: set[str] = set()
    shapes: dict[_Name, set[_Name]] = {}
    for name in names:
        parts = tuple(_NUMBER.split(name))
        if len(parts) == 1 or not _RESERVED.isdisjoint(name):
            literal.add(name)
        else:
            shapes.setdefault(parts[0::2], set()).add(parts[1::2])
    folded = list(literal)
    for texts, numbers in shapes.items():
        folded.extend(_joined(texts, sets) for sets in _fold_numbers(numbers, len(texts) - 1))
    return sorted(folded)


def _fold_numbers(numbers: set[_Name], dimensions: int) -> list[_Name]:
    """Fold one position after the other, the last first, because host names usually count there."""
    rows = list(numbers)
    for dimension in reversed(range(dimensions)):
        groups: dict[_Name, list[str]] = {}
        for row in rows:
            groups.setdefault((*row[:dimension], *row[dimension + 1 :]), []).append(row[dimension])
        rows = [(*rest[:dimension], _ranges(values), *rest[dimension:]) for rest, values in groups.items()]
    return rows


def _ranges(values: Sequence[str]) -> str:
    """Return numbers as a set of ranges: `003,017-019`; a single number stays as it is."""
    runs: list[list[str]] = []
    for value in sorted(values, key=lambda value: (len(value), value)):
        if runs and _follows(runs[-1], value):
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    return ",".join("-".join(run) for run in runs)


def _follows(run: list[str], value: str) -> bool:
    """Return whether `value` is the next number of a run with the same padding: 009, 010 and 9, 10 but not 9, 010."""
    first, last = run[0], run[-1]
    width = len(first) if first.startswith("0") and len(first) > 1 else 1
    return int(value) == int(last) + 1 and value == f"{int(value):0{width}d}"


def _joined(texts: _Name, sets: _Name) -> str:
    out = [texts[0]]
    for text, ranges in zip(texts[1:], sets, strict=True):
        out += [ranges if ranges.isdigit() else f"[{ranges}]", text]
    return "".join(out)


def expand(folded: str) -> list[str]:
    """Return the names of one folded name (an item of `fold_list`)."""
    found = _RANGE.search(folded)
    if found is None:
        return [folded]
    head, tail = folded[: found.start()], expand(folded[found.end() :])
    return [f"{head}{number}{rest}" for number in _numbers(found[1]) for rest in tail]


def _numbers(ranges: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        width = len(first) if first.startswith("0") and len(first) > 1 else 1
        numbers += [first] if not last else [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    return numbers


class Folded(NamedTuple):
    """One message and its hosts."""

    hosts: str
    """Folded names."""
    number: int
    """Number of hosts."""
    message: str


def fold_errors(errors: Iterable[tuple[str, str]]) -> list[Folded]:
    """Return equal messages of several hosts once, those of the most hosts first.

    `errors` are (host, message). Messages that differ only in the name of their host are equal.
    """
    by_message: dict[str, list[tuple[str, str]]] = {}
    for host, message in errors:
        by_message.setdefault(message.replace(host, "<host>") if host else message, []).append((host, message))
    folded: list[Folded] = []
    for text, group in by_message.items():
        hosts = {host for host, _ in group}
        folded.append(Folded(fold(hosts), len(hosts), group[0][1] if len(hosts) == 1 else text))
    return sorted(folded, key=lambda item: (-item.number, item.hosts))
