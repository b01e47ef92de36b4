"""Many host names in few words: `cache-[001-064]`, and equal errors told once.

What 37 hosts have in common is read at a glance when it stands there once with the 37 names folded. Folding loses
nothing: expanding every range gives exactly the names that went in.
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
"""A name in parts: text, number, text, number, ... text. A number is a range set once it is folded."""


def fold(names: Iterable[str]) -> str:
    """The names, each once, as comma-separated folded names: `cache-[001-064],db1`."""
    return ",".join(fold_list(names))


def fold_list(names: Iterable[str]) -> list[str]:
    """The folded names, one by one, in the order of their text."""
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
    """Fold one position after the other, the last first: there host names count."""
    rows = list(numbers)
    for dimension in reversed(range(dimensions)):
        groups: dict[_Name, list[str]] = {}
        for row in rows:
            groups.setdefault((*row[:dimension], *row[dimension + 1 :]), []).append(row[dimension])
        rows = [(*rest[:dimension], _ranges(values), *rest[dimension:]) for rest, values in groups.items()]
    return rows


def _ranges(values: Sequence[str]) -> str:
    """Numbers as a set of ranges: `003,017-019`; one number stands as it is."""
    runs: list[list[str]] = []
    for value in sorted(values, key=lambda value: (len(value), value)):
        if runs and _follows(runs[-1], value):
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    return ",".join("-".join(run) for run in runs)


def _follows(run: list[str], value: str) -> bool:
    """Whether `value` is the next number of a run, in the same padding: 009, 010 and 9, 10 but not 9, 010."""
    first, last = run[0], run[-1]
    width = len(first) if first.startswith("0") and len(first) > 1 else 1
    return int(value) == int(last) + 1 and value == f"{int(value):0{width}d}"


def _joined(texts: _Name, sets: _Name) -> str:
    out = [texts[0]]
    for text, ranges in zip(texts[1:], sets, strict=True):
        out += [ranges if ranges.isdigit() else f"[{ranges}]", text]
    return "".join(out)


def expand(folded: str) -> list[str]:
    """The names that one folded name (an item of `fold_list`) stands for."""
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
    """One message and the hosts it is about."""

    hosts: str
    """Folded names."""
    number: int
    """How many hosts."""
    message: str


def fold_errors(errors: Iterable[tuple[str, str]]) -> list[Folded]:
    """Equal messages of several hosts as one, those of the most hosts first.

    `errors` are (host, message). Messages that differ in nothing but their own host's name are equal.
    """
    by_words: dict[str, list[tuple[str, str]]] = {}
    for host, message in errors:
        by_words.setdefault(message.replace(host, "<host>") if host else message, []).append((host, message))
    folded: list[Folded] = []
    for words, group in by_words.items():
        hosts = {host for host, _ in group}
        folded.append(Folded(fold(hosts), len(hosts), group[0][1] if len(hosts) == 1 else words))
    return sorted(folded, key=lambda item: (-item.number, item.hosts))
