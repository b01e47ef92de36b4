"""How long the history stores runs: limits by age, number and size. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

__all__ = ["DEFAULT", "Retention", "parse_retention"]

DEFAULT = "90d,3000,1G"

_AGES = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MOST = 10**6


@dataclass(frozen=True, slots=True)
class Retention:
    """The limits; None: no limit. The newest run is never deleted."""

    age: timedelta | None = None
    runs: int | None = None
    size: int | None = None
    """In bytes."""


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
