"""Read memcached's answer to `stats`: its process, its version, and how many requests it has counted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleettrace.node.plausible import MAX_INTEGER, MAX_PID
from fleettrace.node.samples import COUNTERS

__all__ = ["ServerStats", "parse_classes", "parse_stats"]

_LINE = re.compile(rb"STAT (\S{1,64}) ([!-~]{1,64})\r?\n")
_EVICTED = re.compile(rb"^STAT items:(\d{1,3}):evicted (\d{1,20})\r?$", re.MULTILINE)
_CHUNK = re.compile(rb"^STAT (\d{1,3}):chunk_size (\d{1,10})\r?$", re.MULTILINE)
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
_MOST = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class ServerStats:
    """What one answer to `stats` shows. None stands for "not known"."""

    pid: int | None
    version: str | None
    requests: int | None
    """The requests for one key that memcached has counted since its start, or since `stats reset`."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Those of the other `COUNTERS` that it reports."""

    def counters(self, own: Mapping[str, int]) -> bytes:
        """Return the counters as a `Sample` holds them, without what fleettrace itself added to each."""
        return b",".join(
            b"%d" % max(0, self.others[name] - own.get(name, 0)) if name in self.others else b"-" for name in COUNTERS
        )


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
    others = {name: _number(values.get(name.encode()), _MOST) for name in COUNTERS}
    return ServerStats(
        pid,
        None if version is None else version.decode("ascii"),
        sum(known) if complete else None,
        {name: number for name, number in others.items() if number is not None},
    )


def parse_classes(items: bytes, slabs: bytes) -> dict[int, tuple[int, int | None]]:
    """Return the evictions of each slab class, and the bytes of a chunk if known.

    `items` and `slabs` are the answers to `stats items` and `stats slabs`.
    """
    chunks = {int(number): _number(size, MAX_INTEGER) for number, size in _CHUNK.findall(slabs)}
    evicted = {int(number): _number(count, _MOST) for number, count in _EVICTED.findall(items)}
    return {number: (count, chunks.get(number)) for number, count in evicted.items() if count is not None}


def _number(digits: bytes | None, most: int) -> int | None:
    if digits is None or not digits.isdigit() or len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if number <= most else None
