"""How long the history stores runs: limits by age, number and size. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

__all__ = ["DEFAULT", "Retention", "parse_retention"]

DEFAULT = "90d,3000,1G"

_AGES = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MOST = 10**6

_PROVE_THE_CLOCK = 10
"""Runs that must follow a jump of the clock by more than the age limit, before it makes earlier runs too old: until
then the clock may be wrong."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The limits; None: no limit. The newest run is never deleted."""

    age: timedelta | None = None
    runs: int | None = None
    size: int | None = None
    """In bytes."""

    def aged(self, starts: Sequence[datetime], now: datetime) -> int:
        """Return how many of the oldest runs are beyond the age limit. `starts` is in the order of storing.

        The controller's clock can have been wrong: a run dated in the future is as old as the run stored after it.
        """
        if self.age is None:
            return 0
        dated = [*starts, now]
        for place in reversed(range(len(starts))):
            if dated[place] > now:
                dated[place] = dated[place + 1]
        jumps = [place for place, (one, later) in enumerate(pairwise(dated)) if later - one > self.age]
        unproven = [dated[place] for place in jumps if len(starts) - 1 - place < _PROVE_THE_CLOCK]
        oldest = min([now, *unproven[:1]]) - self.age
        return next((place for place, start in enumerate(dated) if start >= oldest), len(starts))


def parse_retention(text: str) -> Retention:
    """Parse limits such as `90d,3000,1G`: an age, a number of runs, a size, each at most once; or `all`.

    Raises `ValueError` that names what was expected.
    """
    if text == "all":
        return Retention()
    found: dict[str, timedelta | int] = {}
    for word in text.split(","):
        match = re.fullmatch(r"([0-9]{1,7})([hdwKMG]?)", word.strip())
        number = int(match[1]) if match is not None else 0
        if match is None or not 0 < number <= _MOST:
            raise ValueError(
                f"invalid limit {word.strip()!r}: expected an age (90d), a number (3000), a size (1G), several of them "
                "with commas, or all"
            )
        unit = match[2]
        name = "age" if unit in _AGES else "size" if unit in _SIZES else "runs"
        if name in found:
            raise ValueError(f"{text!r} has two limits of one kind ({name}): remove one")
        found[name] = number * (_AGES[unit] if unit in _AGES else _SIZES.get(unit, 1))
    return Retention(**found)  # type: ignore[arg-type]
