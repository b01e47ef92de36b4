"""Expand host ranges: `cache-[001:512]` names 512 hosts.

The grammar is Ansible's (`[1:9]`, `[001:512]`, `[a:f]`, a step as in `[0:10:2]`, several in one name), and also
`[001-512]`. A range that names no host (`[9:1]`), which Ansible accepts, is an error here.
"""

from __future__ import annotations

import re
import string
from itertools import product

from fleettrace.errors import ConfigError
from fleettrace.inventory.addresses import split_address

__all__ = ["expand_host", "expand_range"]

_MAX_HOSTS = 1_000_000
"""The most hosts of one entry. More are a typing error, and would fill the memory."""

_DASHED = re.compile(r"\[([0-9]+)-([0-9]+)((?::[0-9]+)?)\]")
_LETTERS = string.ascii_letters


def expand_host(text: str) -> tuple[list[str], int | None]:
    """Return the host names that a key of a `hosts:` mapping stands for, in order, and the port after it.

    Raises `ConfigError`, without file and line, if a range is malformed.
    """
    text = _DASHED.sub(r"[\1:\2\3]", text)
    name, port = split_address(text) or (text, None)
    return (expand_range(name) if "[" in name else [name]), port


def expand_range(text: str) -> list[str]:
    """Return all names that `text` stands for. The last range varies fastest. Raises `ConfigError`."""
    pieces: list[list[str]] = []
    rest, count = text, 1
    while "[" in rest:
        head, _, tail = rest.partition("[")
        inside, closed, rest = tail.partition("]")
        if not closed:
            raise ConfigError(f"{text!r}: a '[' without its ']': expected a range such as [001:512]")
        pieces += [[head], _values(inside, text)]
        count *= len(pieces[-1])
        if count > _MAX_HOSTS:
            raise ConfigError(f"{text!r} names more than {_MAX_HOSTS:,} hosts: check the range")
    return ["".join(parts) for parts in product(*pieces, [rest])]


def _values(inside: str, text: str) -> list[str]:
    bounds = inside.split(":")
    if len(bounds) not in (2, 3):
        raise ConfigError(f"{text!r}: [{inside}] is not a range: expected [begin:end] or [begin:end:step]")
    begin, end = bounds[0] or "0", bounds[1]
    step = bounds[2] if len(bounds) == 3 else "1"
    if not _is_number(step) or int(step) == 0:
        raise ConfigError(f"{text!r}: the step of [{inside}] must be a whole number from 1 up")
    if len(begin) == len(end) == 1 and begin in _LETTERS and end in _LETTERS:
        first, last = _LETTERS.index(begin), _LETTERS.index(end)
        _check_order(first, last, inside, text)
        return list(_LETTERS[first : last + 1 : int(step)])
    if not (_is_number(begin) and _is_number(end)):
        raise ConfigError(f"{text!r}: [{inside}] must run between two numbers or two single letters")
    width = len(begin) if begin[0] == "0" and len(begin) > 1 else 0
    if width and width != len(end):
        raise ConfigError(f"{text!r}: both ends of [{inside}] must have {width} digits, as the first has leading zeros")
    _check_order(int(begin), int(end), inside, text)
    numbers = range(int(begin), int(end) + 1, int(step))
    if len(numbers) > _MAX_HOSTS:
        raise ConfigError(f"{text!r} names more than {_MAX_HOSTS:,} hosts: check the range")
    return [str(number).zfill(width) for number in numbers]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _check_order(first: int, last: int, inside: str, text: str) -> None:
    if first > last:
        raise ConfigError(f"{text!r}: the range [{inside}] ends before it begins: swap the two")
