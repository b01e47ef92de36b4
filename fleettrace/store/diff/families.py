"""Whether two families of keys can have members in common. Pure.

Families are found in each run's own keys, so the next run may divide the same keys otherwise: what one calls
`user:{}:profile` can be half of the other's `user:{}:{}`. That is no change of the traffic.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["overlap"]

_PART = re.compile(r"\{\{|\}\}|(\{\})|.", re.DOTALL)


def overlap(a: str, b: str) -> bool:
    """Whether some key fits both templates. A pattern of the user's (`~...`) is taken to fit any."""
    if a.startswith("~") or b.startswith("~"):
        return True
    first, second = _parts(a), _parts(b)
    # Most differ in the beginning or in the end that they keep; that is seen without the rest.
    if _differ(first, second) or _differ(first[::-1], second[::-1]):
        return False
    return _meet(first, second)


def _parts(template: str) -> list[str | None]:
    """Its characters, None for each part that varies, which is of one character or more."""
    return [None if found[1] else found[0][0] for found in _PART.finditer(template)]


def _differ(a: Sequence[str | None], b: Sequence[str | None]) -> bool:
    for one, other in zip(a, b, strict=False):
        if one is None or other is None:
            return False
        if one != other:
            return True
    return False


def _meet(a: Sequence[str | None], b: Sequence[str | None]) -> bool:
    """Whether both can end at once. A part that varies takes one character, and then any number more."""
    row = [True] + [False] * len(b)
    for one in a:
        new = [False]
        for place, other in enumerate(b, 1):
            both = row[place - 1] and (one is None or other is None or one == other)
            new.append(both or (one is None and new[-1]) or (other is None and row[place]))
        row = new
    return row[-1]
