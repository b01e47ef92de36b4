"""Count look-ups by key from the lines of memcached's `watch fetchers`, as they arrive. Pure.

Any server may send these lines, so each call takes time and memory in proportion to its data, and what is stored has a
bound: of too many keys, the most requested ones stay, and the bound for the others grows (`Summary.bound`).
"""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import unquote_to_bytes

from fleettrace.node.plausible import MAX_INTEGER
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import KEY_MAX_LENGTH, Key

__all__ = ["FLUSHED_S", "LookupLog"]

FLUSHED_S = 1.1
"""memcached writes a small log once a second (logger.c), so a line arrives up to that much after its look-up."""

_LINE_MAX = 2048
"""Bytes of the longest line: a key takes up to 750, each byte written as %XX."""
_LOOKUP = re.compile(
    rb"^ts=(\d{1,12})\.(\d{1,6}) gid=\d{1,20} type=item_get key=([^ \r\n]{1,1024})(?=[ \r\n])", re.MULTILINE
)
_SKIPPED = re.compile(rb"^\[?skipped[=:] ?(\d{1,18})\b", re.MULTILINE)
_KEY = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})+")
_CLOCK_ARRIVALS = 20
"""Arrivals after which the shortest delay of a line shows how far the server's clock is off."""


class LookupLog:
    """The look-ups of one window."""

    def __init__(self, most_keys: int) -> None:
        self._most_keys = most_keys
        self._rest = b""
        self._overlong = False
        self._summary = Summary()
        self._skipped = 0
        self._nameless = 0
        self._arrivals = 0
        self._delay_us: int | None = None
        self._until_us: int | None = None

    @property
    def total(self) -> int:
        """Look-ups so far."""
        return self._summary.total

    @property
    def skipped(self) -> int:
        """Lines that memcached reports as dropped."""
        return self._skipped

    def end_window(self, now_s: float) -> None:
        """End the window at this time of the controller's clock: count no look-up of later lines, by their own time."""
        self._until_us = round(now_s * 1e6) - self._clock_us()

    def _clock_us(self) -> int:
        """Return how far the server's clock is behind the controller's, in microseconds.

        A line arrives up to `FLUSHED_S` after its time, so in a few lines a small difference looks like that delay.
        """
        delay = self._delay_us
        if delay is None or (self._arrivals < _CLOCK_ARRIVALS and 0 <= delay <= FLUSHED_S * 1e6):
            return 0
        return delay

    def feed(self, data: bytes, now_s: float) -> None:
        """Count the look-ups in `data`, which arrived at this time of the controller's clock."""
        lines = self._complete_lines(data)
        if not lines:
            return
        self._skipped = min(MAX_INTEGER, self._skipped + sum(map(int, _SKIPPED.findall(lines))))
        found = _LOOKUP.findall(lines)
        if not found:
            return
        if self._until_us is None:
            self._arrivals += 1
            delay = round(now_s * 1e6) - _microseconds(*found[-1][:2])
            self._delay_us = delay if self._delay_us is None else min(self._delay_us, delay)
            self._count([key for _, _, key in found])
        else:
            self._count([key for at, us, key in found if _microseconds(at, us) <= self._until_us])

    def _complete_lines(self, data: bytes) -> bytes:
        """Return the lines that `data` completes, and store the rest of it. A too long line is dropped."""
        if self._overlong:
            start = data.find(b"\n") + 1
            if start == 0:
                return b""
            data, self._overlong = data[start:], False
        end = data.rfind(b"\n") + 1
        lines = self._rest + data[:end] if end else b""
        self._rest = data[end:] if end else self._rest + data
        if len(self._rest) > _LINE_MAX:
            self._rest, self._overlong = b"", True
        return lines

    def _count(self, names: list[bytes]) -> None:
        keys = self._summary.keys
        for name, requests in Counter(names).items():
            self._summary.total += requests
            data = unquote_to_bytes(name) if _KEY.fullmatch(name) else b""
            if not 0 < len(data) <= KEY_MAX_LENGTH:
                self._nameless += requests
                continue
            key = Key.whole(data)
            known = keys.get(key)
            if known is None:
                keys[key] = KeyCount(requests)
            else:
                known.requests += requests
        self._summary.bound(self._most_keys)

    def summary(self, counted: int | None) -> Summary:
        """Return the summary of the window. `counted`: the look-ups by memcached's own counters, if known.

        A line that is missing may have named any key.
        """
        summary = self._summary
        missing = 0 if counted is None else max(0, counted - summary.total)
        summary.absent += max(self._skipped, missing) + self._nameless
        summary.timeline = [summary.total]
        for count in summary.keys.values():
            count.timeline = [count.requests]
        return summary


def _microseconds(seconds: bytes, fraction: bytes) -> int:
    """Return a time of memcached's log. Its fraction is a number of microseconds, without leading zeros (logger.c)."""
    return int(seconds) * 1_000_000 + int(fraction)
