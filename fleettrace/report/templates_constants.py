"""Decide which values of one position in a set of keys are constants of a family, and which are ids.

The decision uses only the number of keys with each value.
"""

from __future__ import annotations

import re
from collections import Counter
from math import inf

__all__ = ["DIGITS", "HAS_DIGIT", "WEAK", "constants"]

WEAK = rb"\-_.~+="
"""Delimiters that also occur in ids (uuid, base64, dates, addresses): used only inside a variable segment."""
DIGITS = re.compile(rb"([0-9]+)")
HAS_DIGIT = re.compile(rb"[0-9]")
_NATURAL = re.compile(
    rb"(?:[A-Z]?[a-z\x80-\xff]+(?:[A-Z][a-z\x80-\xff]+)*|[A-Z]+|v[0-9]{1,2})"
    rb"(?:[" + WEAK + rb"]+(?:[A-Z]?[a-z\x80-\xff]+(?:[A-Z][a-z\x80-\xff]+)*|[A-Z]+|v[0-9]{1,2}))*"
)
"""Natural names: words in one case or camelCase, also joined (`user_profile`), and versions (`v2`)."""
_VERSIONED = re.compile(rb"(?:.*[^0-9A-Za-z])?v[0-9]{1,2}")
_TOKEN = re.compile(rb"(?=[^0-9]*[0-9])(?=.*[A-Za-z]).{8,}|.{20,}", re.DOTALL)
"""Looks like an id: eight characters with letters and digits, or twenty of any kind."""

_CONSTANT_NUMBER = 4
"""A number is constant if at least this many keys share it, and no key has another number there."""
_GAP = 4.0
"""A value is constant among many variable ones if it occurs this many times as often as the next value."""
_TAIL = 0.1
"""Rarer words in at most this share of the keys do not turn a position of constants into one of ids."""


def constants(counts: Counter[bytes], *, strict: bool = False) -> frozenset[bytes]:
    """Return the values of one position that are constants of a family; `counts` has the number of keys by value.

    `strict` requires more keys per value; it is for positions that are examined without those after them.
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
    common = _frequent({value: counts[value] for value in names}, total_names, 1 if strict else 4)
    total_codes = sum(counts.values()) - total_names
    return common | _frequent({value: counts[value] for value in codes}, total_codes, 1)


def _without_ids(repeated: list[bytes], counts: Counter[bytes]) -> list[bytes]:
    """Remove the values that are ids by comparison with the others, even if they occur often."""
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
    remaining = []
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
        remaining.append(value)
    return remaining


def _frequent(supports: dict[bytes, int], total: int, per_key: int) -> frozenset[bytes]:
    """Return the frequent values: each has at least 1 / `per_key` as many keys as there are such values.

    If rarer values have a large part of the `total`, there must be a gap: the popularity of ids has none.
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
