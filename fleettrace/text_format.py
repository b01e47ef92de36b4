"""Text that several layers print alike: counts with their noun, times, and whether color is allowed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Literal, overload

__all__ = ["color_allowed", "plural", "rfc3339", "utc"]

_Precision = Literal["auto", "seconds", "milliseconds"]


def plural(number: int, noun: str) -> str:
    """Return `1 host`, `3 hosts` or `2 processes`."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def utc(time: datetime) -> datetime:
    """Return the time in UTC. A time without a zone is taken to be in UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


@overload
def rfc3339(time: datetime, precision: _Precision = ...) -> str: ...
@overload
def rfc3339(time: datetime | None, precision: _Precision = ...) -> str | None: ...
def rfc3339(time: datetime | None, precision: _Precision = "milliseconds") -> str | None:
    """Return the time as RFC 3339 text in UTC, None for None. `auto` keeps every digit of the fraction."""
    return None if time is None else utc(time).isoformat(timespec=precision).replace("+00:00", "Z")


def color_allowed(*, disabled: bool) -> bool:
    """Return whether output to a terminal may be colored: not `disabled` by option, nor by the variable NO_COLOR.

    https://no-color.org: any value that is not empty disables color.
    """
    return not disabled and not os.environ.get("NO_COLOR")
