"""The values of options: durations, shares, numbers. Each converter raises `ValueError` with what was expected."""

from __future__ import annotations

import re

from fleettrace.store.history.retention import DEFAULT, parse_retention

__all__ = ["DEFAULT_RETENTION", "Choice", "address", "cores", "count", "duration", "ops", "regex", "retries", "share"]

OPS = ("get", "set", "delete", "arith", "touch", "other")
"""As in fleettrace/summary/counts.py, which the command line's help need not load."""
DEFAULT_RETENTION = parse_retention(DEFAULT)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Choice:
    """Accepts one of a few words."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, text: str) -> str:
        if text not in self.names:
            raise ValueError(f"{text!r} is not one of {', '.join(self.names)}")
        return text


def duration(text: str) -> float:
    """Seconds from `10s`, `500ms`, `5m`, `1h`, `1m30s`, or a bare number of seconds."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
    elif re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+", text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", text))
    else:
        raise ValueError(f"{text!r} is not a duration: expected a number with ms, s, m or h, such as 10s or 1m30s")
    if not 0 < seconds <= 86400:
        raise ValueError(f"{text!r} is out of range: expected more than 0 and at most 24h")
    return seconds


def address(text: str) -> tuple[str, int]:
    """An IP address and a TCP port from `127.0.0.1:9497` or `[::1]:9497`."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9]+(?:\.[0-9]+){3})):([0-9]{1,5})", text)
    if found is None or int(found[3]) > 65535 or (found[1] and ":" not in found[1]):
        raise ValueError(f"{text!r} is not an IP address with a port: expected 127.0.0.1:9497 or [::1]:9497, say")
    return found[1] or found[2], int(found[3])


def share(text: str) -> float:
    """A part of one from `50%` or `0.5`."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text)
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is not a share: expected a percentage such as 50%, or a number from 0 to 1")
    return value


def cores(text: str) -> float:
    """A part of one core, or several cores, from `50%`, `0.5` or `200%`."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text)
    value = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < value <= 1024:
        raise ValueError(f"{text!r} is not a share of a core: expected a percentage such as 50%, more than 0")
    return value


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 0 < int(text) <= 1_000_000:
        raise ValueError(f"{text!r} is not a number of things: expected a whole number from 1 to 1000000")
    return int(text)


def retries(text: str) -> int:
    """A whole number from 0 to 10."""
    if not re.fullmatch(r"[0-9]|10", text):
        raise ValueError(f"{text!r} is not a number of retries: expected a whole number from 0 to 10")
    return int(text)


def regex(text: str) -> re.Pattern[bytes]:
    """A regular expression over the bytes of keys."""
    try:
        return re.compile(text.encode("utf-8", "surrogateescape"))
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None


def ops(text: str) -> frozenset[str]:
    """Kinds of request from `get,set`."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in OPS:
            raise ValueError(f"{name!r} is not an operation: expected some of {','.join(OPS)}")
    return frozenset(names)
