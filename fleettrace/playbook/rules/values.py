"""Figures with bounds, and what can be said of them: the logic that rules are judged by. Pure.

Everything is judged twice: of what was *seen* (the hosts that were traced, within the bounds of their counts), and of
the *whole* fleet, of which a part may be missing or counted approximately. What holds of the whole is certain.
"""

from __future__ import annotations

import re
from enum import Enum
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple

__all__ = ["ANY_NUMBER", "ANY_PART", "Bounds", "Judged", "Measurement", "Value", "Verdict", "matches", "measured"]


class Bounds(NamedTuple):
    """A number that is known to lie between two, both of them possible."""

    low: float
    high: float


ANY_NUMBER = Bounds(0.0, float("inf"))
ANY_PART = Bounds(0.0, 1.0)

Value = Bounds | frozenset[str] | None
"""A number, the words one of which it is, or None for what is not known."""


class Measurement(NamedTuple):
    """A field of one thing."""

    seen: Value
    whole: Value


class Verdict(Enum):
    """Whether something holds."""

    NO = "no"
    YES = "yes"
    WITHIN = "within"
    """The bounds leave it open."""
    UNTOLD = "untold"
    """Something that it depends on is not known at all."""


class Judged(NamedTuple):
    """What is said of the seen and of the whole, and what keeps it from being sure."""

    seen: Verdict
    whole: Verdict
    why: tuple[str, ...] = ()

    def __and__(self, other: Judged) -> Judged:
        return Judged(_all(self.seen, other.seen), _all(self.whole, other.whole), _joined(self.why, other.why))

    def __or__(self, other: Judged) -> Judged:
        return Judged(_any(self.seen, other.seen), _any(self.whole, other.whole), _joined(self.why, other.why))

    def __invert__(self) -> Judged:
        return Judged(_NEGATED[self.seen], _NEGATED[self.whole], self.why)


_NEGATED = {
    Verdict.NO: Verdict.YES,
    Verdict.YES: Verdict.NO,
    Verdict.WITHIN: Verdict.WITHIN,
    Verdict.UNTOLD: Verdict.UNTOLD,
}
_ALL_ORDER = (Verdict.NO, Verdict.UNTOLD, Verdict.WITHIN, Verdict.YES)
_ANY_ORDER = (Verdict.YES, Verdict.WITHIN, Verdict.UNTOLD, Verdict.NO)


def _all(a: Verdict, b: Verdict) -> Verdict:
    return min(a, b, key=_ALL_ORDER.index)


def _any(a: Verdict, b: Verdict) -> Verdict:
    return min(a, b, key=_ANY_ORDER.index)


def _joined(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*a, *b)))


def measured(value: Value, operator: str, limit: Bounds | None) -> Verdict:
    """Whether a number stands to `limit` as the operator (`>`, `>=`, `<`, `<=`, `==`, `!=`) says."""
    if not isinstance(value, Bounds) or limit is None:
        return Verdict.UNTOLD
    match operator:
        case ">":
            return _over(value.low > limit.high, value.high > limit.low)
        case ">=":
            return _over(value.low >= limit.high, value.high >= limit.low)
        case "<" | "<=":
            return measured(limit, {"<": ">", "<=": ">="}[operator], value)
    same = _over(value == limit and value.low == value.high, value.low <= limit.high and limit.low <= value.high)
    return same if operator == "==" else _NEGATED[same]


def _over(surely: bool, possibly: bool) -> Verdict:
    if surely:
        return Verdict.YES
    return Verdict.WITHIN if possibly else Verdict.NO


def matches(value: Value, operator: str, word: str) -> Verdict:
    """Whether a word is the one (`==`), another (`!=`), or fits the pattern (`~`, with `*`, `?` and `[...]`)."""
    if not isinstance(value, frozenset):
        return Verdict.UNTOLD
    if operator == "~":
        fits = [_pattern(word).match(one) is not None for one in value]
        return _over(all(fits), any(fits))
    same = _over(value == {word}, word in value)
    return same if operator == "==" else _NEGATED[same]


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))
