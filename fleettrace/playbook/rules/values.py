"""Compare numbers that have bounds: the three-valued logic of rules. Pure.

Each test has two verdicts: `seen` for the traced hosts, within the bounds of their counts, and `fleet` for the whole
fleet, some hosts of which may be missing or counted approximately. A rule is certain when its `fleet` verdict is YES.
"""

from __future__ import annotations

import re
from enum import Enum
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple

__all__ = [
    "ANY_NUMBER",
    "ANY_PART",
    "Bounds",
    "Judgement",
    "Measurement",
    "Value",
    "Verdict",
    "compare_number",
    "compare_word",
]


class Bounds(NamedTuple):
    """The least and the greatest value that a number can have, both included."""

    low: float
    high: float


ANY_NUMBER = Bounds(0.0, float("inf"))
ANY_PART = Bounds(0.0, 1.0)

Value = Bounds | frozenset[str] | None
"""A number, a set of words one of which applies, or None when it is not known."""


class Measurement(NamedTuple):
    """A field of one subject: its value on the traced hosts, and in the whole fleet."""

    seen: Value
    fleet: Value


class Verdict(Enum):
    """Whether a test holds."""

    NO = "no"
    YES = "yes"
    OPEN = "open"
    """The bounds allow both."""
    UNKNOWN = "unknown"
    """A value that the test needs is not known."""


class Judgement(NamedTuple):
    """The two verdicts of a test, and the reasons why it is not certain."""

    seen: Verdict
    fleet: Verdict
    why: tuple[str, ...] = ()

    def __and__(self, other: Judgement) -> Judgement:
        return Judgement(_all(self.seen, other.seen), _all(self.fleet, other.fleet), _joined(self.why, other.why))

    def __or__(self, other: Judgement) -> Judgement:
        return Judgement(_any(self.seen, other.seen), _any(self.fleet, other.fleet), _joined(self.why, other.why))

    def __invert__(self) -> Judgement:
        return Judgement(_NEGATED[self.seen], _NEGATED[self.fleet], self.why)


_NEGATED = {
    Verdict.NO: Verdict.YES,
    Verdict.YES: Verdict.NO,
    Verdict.OPEN: Verdict.OPEN,
    Verdict.UNKNOWN: Verdict.UNKNOWN,
}
_ALL_ORDER = (Verdict.NO, Verdict.UNKNOWN, Verdict.OPEN, Verdict.YES)
_ANY_ORDER = (Verdict.YES, Verdict.OPEN, Verdict.UNKNOWN, Verdict.NO)


def _all(a: Verdict, b: Verdict) -> Verdict:
    return min(a, b, key=_ALL_ORDER.index)


def _any(a: Verdict, b: Verdict) -> Verdict:
    return min(a, b, key=_ANY_ORDER.index)


def _joined(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*a, *b)))


def compare_number(value: Value, operator: str, limit: Bounds | None) -> Verdict:
    """Return whether `value operator limit` holds; the operator is one of `>`, `>=`, `<`, `<=`, `==` and `!=`."""
    if not isinstance(value, Bounds) or limit is None:
        return Verdict.UNKNOWN
    match operator:
        case ">":
            return _over(value.low > limit.high, value.high > limit.low)
        case ">=":
            return _over(value.low >= limit.high, value.high >= limit.low)
        case "<" | "<=":
            return compare_number(limit, {"<": ">", "<=": ">="}[operator], value)
    same = _over(value == limit and value.low == value.high, value.low <= limit.high and limit.low <= value.high)
    return same if operator == "==" else _NEGATED[same]


def _over(surely: bool, possibly: bool) -> Verdict:
    if surely:
        return Verdict.YES
    return Verdict.OPEN if possibly else Verdict.NO


def compare_word(value: Value, operator: str, word: str) -> Verdict:
    """Return whether a word equals `word` (`==`), differs (`!=`) or matches the pattern (`~`; `*`, `?`, `[...]`)."""
    if not isinstance(value, frozenset):
        return Verdict.UNKNOWN
    if operator == "~":
        fits = [_pattern(word).match(one) is not None for one in value]
        return _over(all(fits), any(fits))
    same = _over(value == {word}, word in value)
    return same if operator == "==" else _NEGATED[same]


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))
