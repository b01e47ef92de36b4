"""Decide whether two families of keys can share keys. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["overlap"]

_TEMPLATE_PART = re.compile(r"\{\{|\}\}|(\{\})|.", re.DOTALL)


def overlap(a: str, b: str) -> bool:
    """Return whether a key can match both templates.

    Each run finds families among its own keys, so the next run may divide the same keys differently: `user:{}:profile`
    in one run can be half of `user:{}:{}` in the other. A pattern of the user (`~...`) counts as matching all."""
    if a.startswith("~") or b.startswith("~"):
        return True
    first, second = _parts(a), _parts(b)
    # Most templates differ in their constant beginning or end, which is quick to see.
    if _differ(first, second) or _differ(first[::-1], second[::-1]):
        return False
    return _meet(first, second)


def _parts(template: str) -> list[str | None]:
    """Return the characters of a template, with None for each variable part (one character or more)."""
    return [None if found[1] else found[0][0] for found in _TEMPLATE_PART.finditer(template)]


def _differ(a: Sequence[str | None], b: Sequence[str | None]) -> bool:
    for one, other in zip(a, b, strict=False):
        if one is None or other is None:
            return False
        if one != other:
            return True
    return False


def _meet(a: Sequence[str | None], b: Sequence[str | None]) -> bool:
    """Return whether one text can match both. A variable part takes one character, and then any number more."""
    row = [True] + [False] * len(b)
    for one in a:
        new = [False]
        for place, other in enumerate(b, 1):
            both = row[place - 1] and (one is None or other is None or one == other)
            new.append(both or (one is None and new[-1]) or (other is None and row[place]))
        row = new
    return row[-1]
