"""Read memcached's answer to `stats`: its process, its version, and how many requests it has counted. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleettrace.node.plausible import MAX_INTEGER, MAX_PID

__all__ = ["ServerStats", "parse_stats"]

_LINE = re.compile(rb"STAT (\S{1,64}) ([!-~]{1,64})\r?\n")
# Each request naming one key is in exactly one of these (see add_up in stats.sh, which sums the same).
_COUNTERS = frozenset(
    (
        b"cmd_get",
        b"cmd_set",
        b"cmd_touch",
        b"delete_hits",
        b"delete_misses",
        b"incr_hits",
        b"incr_misses",
        b"decr_hits",
        b"decr_misses",
    )
)
_LEAST_COUNTERS = 2


@dataclass(frozen=True, slots=True)
class ServerStats:
    """What one answer to `stats` shows. None stands for "not known"."""

    pid: int | None
    version: str | None
    requests: int | None
    """The requests for one key that memcached has counted since its start, or since `stats reset`."""


def parse_stats(answer: bytes) -> ServerStats | None:
    """Return what an answer shows; None where it is not one of memcached's."""
    values = dict(_LINE.findall(answer))
    pid = _number(values.get(b"pid"), MAX_PID)
    version = values.get(b"version")
    if pid is None and version is None:
        return None
    counters = [_number(values[name], MAX_INTEGER) for name in sorted(_COUNTERS & values.keys())]
    known = [counter for counter in counters if counter is not None]
    complete = len(known) == len(counters) and len(known) >= _LEAST_COUNTERS and sum(known) <= MAX_INTEGER
    return ServerStats(pid, None if version is None else version.decode("ascii"), sum(known) if complete else None)


def _number(digits: bytes | None, most: int) -> int | None:
    if digits is None or not digits.isdigit() or len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if number <= most else None
