"""Which values of one place in a set of keys are constants of a family, and which are ids.

The judgement at the heart of template mining, on nothing but how many keys have each value there.
"""

from __future__ import annotations

import re
from collections import Counter
from math import inf

__all__ = ["DIGITS", "HAS_DIGIT", "WEAK", "constants"]

WEAK = rb"\-_.~+="
"""Delimiters that ids have inside too (uuid, base64, dates, addresses): looked at only inside a segment that varies."""
DIGITS = re.compile(rb"([0-9]+)")
HAS_DIGIT = re.compile(rb"[0-9]")
_NATURAL = re.compile(
    rb"(?:[A-Z]?[a-z\x80-\xff]+(?:[A-Z][a-z\x80-\xff]+)*|[A-Z]+|v[0-9]{1,2})"
    rb"(?:[" + WEAK + rb"]+(?:[A-Z]?[a-z\x80-\xff]+(?:[A-Z][a-z\x80-\xff]+)*|[A-Z]+|v[0-9]{1,2}))*"
)
"""What people name things: words in one case or camelCase, also joined (`user_profile`), and versions (`v2`)."""
_VERSIONED = re.compile(rb"(?:.*[^0-9A-Za-z])?v[0-9]{1,2}")
_TOKEN = re.compile(rb"(?=[^0-9]*[0-9])(?=.*[A-Za-z]).{8,}|.{20,}", re.DOTALL)
"""What looks like an id on its own: eight characters with letters and digits, or twenty of anything."""

_CONSTANT_NUMBER = 4
"""Keys that must share a number, with no other number in its place, before it counts as constant."""
_GAP = 4.0
"""How much more often than the next value a part must occur to be constant, where many others vary beside it."""
_TAIL = 0.1
"""Share of the keys up to which rarer words do not make a place of constants one of ids."""


def constants(counts: Counter[bytes], *, strict: bool = False) -> frozenset[bytes]:
    """The values of one place that are constants of a family; `counts` are the keys that have each value there.

    `strict` asks for more keys a value: it is meant for places seen without what follows them.
    """
    if len(counts) == 1:
        ((value, count),) = counts.items()
        enough = 2 if not value.isdigit() else _CONSTANT_NUMBER
        return frozenset((value,)) if count >= enough else frozenset()
    repeated = [value for value, count in counts.items() if count > 1]
    if not repeated:
        return frozenset()
    candidates = _without_ids(repeated, counts)
    names = [value for value in candidates if _NATURAL.fullmatch(value)]
    codes = [value for value in candidates if not _NATURAL.fullmatch(value)]
    total_names = sum(count for value, count in counts.items() if _NATURAL.fullmatch(value)) if names else 0
    kept = _frequent({value: counts[value] for value in names}, total_names, 1 if strict else 4)
    total_codes = sum(counts.values()) - total_names
    return kept | _frequent({value: counts[value] for value in codes}, total_codes, 1)


def _without_ids(repeated: list[bytes], counts: Counter[bytes]) -> list[bytes]:
    """Leave out what its siblings show to be an id, however often it occurs."""
    forms: Counter[bytes] = Counter()
    lengths: Counter[int] = Counter()
    digit_keys: Counter[int] = Counter()
    digit_values: Counter[int] = Counter()
    for value, count in counts.items():
        lengths[len(value)] += 1
        if HAS_DIGIT.search(value):
            forms[DIGITS.sub(b"0", value)] += 1
            digit_values[len(value)] += 1
            digit_keys[len(value)] += count
    tokens = sum(1 for value in repeated if _TOKEN.fullmatch(value) and not _NATURAL.fullmatch(value))
    left = []
    for value in repeated:
        if HAS_DIGIT.search(value):
            numbered = forms[DIGITS.sub(b"0", value)] > (4 if _VERSIONED.fullmatch(value) else 1)
            if numbered or value.isdigit():
                continue
        length = len(value)
        alike = digit_values[length]
        if alike >= 8 and 2 * alike >= lengths[length] and counts[value] < 8 * digit_keys[length] / alike:
            continue
        if tokens > 3 and _TOKEN.fullmatch(value) and not _NATURAL.fullmatch(value):
            continue
        left.append(value)
    return left


def _frequent(supports: dict[bytes, int], total: int, per_key: int) -> frozenset[bytes]:
    """The values that stand out: each with at least a `per_key`-th as many keys as there are such values.

    Where rarer ones hold a good part of the `total`, there must be a gap to them: an id's popularity has none.
    """
    ranked = sorted(supports.items(), key=lambda item: (-item[1], item[0]))
    tail = total - sum(supports.values())
    following: float = 1 if tail else 0
    for rank in range(len(ranked), 0, -1):
        support = ranked[rank - 1][1]
        gap = support / following if following else inf
        if rank <= per_key * support and (tail <= _TAIL * total or gap >= _GAP):
            rescued = [value for value, count in ranked[rank:] if count > 2]
            extra = rescued if tail <= _TAIL * total and len(rescued) <= 2 * rank else []
            return frozenset([value for value, _ in ranked[:rank]] + extra)
        tail += support
        following = support
    return frozenset()
