"""Parse the numbers of rules: `5%`, `20k/s`, `2x`, `1.5MiB`, `10s`. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from fleettrace.playbook.rules.measurements import Unit

__all__ = ["EXAMPLES", "Quantity", "QuantityError", "read_quantity"]

EXAMPLES = {
    Unit.NUMBER: "a number such as 1000 or 20k",
    Unit.RATE: "a rate such as 20k/s",
    Unit.PART: "a part such as 5%",
    Unit.MULTIPLE: "a multiple such as 2x",
    Unit.BYTES: "a size such as 512kB or 1MiB",
    Unit.BYTES_RATE: "a rate of bytes such as 30MB/s",
    Unit.SECONDS: "a time such as 10s",
}
"""An example of each unit, for messages."""

_SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_SIZES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_TIMES = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SUFFIX = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)([A-Za-z%]*)((?:/[A-Za-z]+)?)")


class QuantityError(ValueError):
    """A number is invalid, or has a unit that does not apply. The text names what was expected."""


class Quantity(NamedTuple):
    """A number and its suffix; the field decides what a suffix such as `m` means."""

    number: float
    suffix: str
    text: str

    def as_unit(self, unit: Unit) -> float:
        """Return the number in that unit. Raise `QuantityError`."""
        value = self._value(unit)
        if value is None:
            raise QuantityError(f"{self.text} is not {EXAMPLES[unit]}")
        if unit is Unit.PART and not 0 <= value <= 1:
            raise QuantityError(f"{self.text} is not a part: expected 0% to 100%")
        return value

    def _value(self, unit: Unit) -> float | None:
        suffix = self.suffix
        known: dict[str, float]
        match unit:
            case Unit.NUMBER:
                known = _SCALES
            case Unit.RATE:
                known = {f"{scale}/s": by for scale, by in _SCALES.items()}
            case Unit.PART:
                known = {"%": 0.01, "": 1.0}
            case Unit.MULTIPLE:
                known = {"x": 1.0, "": 1.0}
            case Unit.BYTES:
                known = _SIZES
            case Unit.BYTES_RATE:
                known = {f"{scale}/s": by for scale, by in _SIZES.items()}
            case Unit.SECONDS:
                known = _TIMES
            case _:
                known = {}
        return round(self.number * known[suffix], 12) if suffix in known else None

    def fits(self, unit: Unit) -> bool:
        """Return whether the suffix belongs to that unit, whatever the size of the number."""
        return self._value(unit) is not None


def read_quantity(text: str) -> Quantity:
    """Return the number and its suffix. Raise `QuantityError`."""
    found = _SUFFIX.fullmatch("".join(text.split()))
    if found is None:
        raise QuantityError(f"{text} is not a number: expected a number such as 5%, 20k/s, 2x or 1000")
    return Quantity(float(found[1].replace("_", "")), found[2] + found[3], text)
