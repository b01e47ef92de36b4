"""Compute what two windows could have shown: the smallest rise of a key that would have been found. Pure.

A comparison without a change proves little when the windows are short: the noise of counting and the burstiness that
the slices showed hide every smaller change. The smallest visible rise is computed for a key with `PLAIN_PART` of all
requests and the usual burstiness, by the same tests that judge real keys (`pair`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

from fleettrace.store.diff.chance import Events

__all__ = ["DOUBLED", "PLAIN_PART", "Visibility"]

PLAIN_PART = 0.01
"""The part of all requests that the key has: a hot key has more, and shows smaller changes."""

DOUBLED = 2.0
"""Windows that do not show a doubling of such a key are too short to judge changes of keys."""

_MOST = 100.0
_STEP = 1.02
_WINDOWS_S = (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
"""Windows that are suggested, in seconds."""

Significant = Callable[[tuple[Events, Events], tuple[Events, Events], float], bool]
"""Returns whether a change of these counts, by rate and by share, in windows so many times as long, is found."""


@dataclass(frozen=True)
class Visibility:
    """What a comparison of two windows could have shown."""

    totals: tuple[float, float]
    """Requests of the compared hosts in each window."""
    windows: tuple[float, float]
    """In seconds."""
    least_ratio: float
    """The smallest ratio that counts as a change."""
    significant: Significant

    @cached_property
    def rise(self) -> float | None:
        """The smallest visible rise, as a factor; None if no rise by up to 100 times is visible."""
        return self._rise(1.0)

    def rise_within(self, seconds: float) -> float | None:
        """Return the smallest visible rise between two windows of so many seconds; None for no visible rise."""
        now = min(self.windows)
        return self._rise(seconds / now) if now > 0 else None

    def shows(self, times: float) -> bool:
        """Return whether a rise of `times` is visible."""
        return self.rise is not None and self.rise <= times

    def window_for(self, times: float) -> float | None:
        """Return the shortest usual window, in seconds, in which a rise of `times` is visible; None if none of up to
        ten minutes is long enough."""
        now = min(self.windows)
        longer = (each for each in _WINDOWS_S if each > now > 0)
        return next((each for each in longer if self._found(max(times, self.least_ratio), each / now)), None)

    def _rise(self, longer: float) -> float | None:
        if not self._found(_MOST, longer):
            return None
        low, high = self.least_ratio, _MOST
        if self._found(low * _STEP, longer):
            return low
        while high / low > _STEP:
            middle = sqrt(low * high)
            low, high = (low, middle) if self._found(middle, longer) else (middle, high)
        return high

    def _found(self, times: float, longer: float) -> bool:
        before, after = (total * longer for total in self.totals)
        if not before or not after:
            return False
        less, more = before * PLAIN_PART, after * PLAIN_PART * times
        by_share = Events(less, before - less), Events(more, after * (1 - PLAIN_PART))
        # All requests stand for time: a busier hour does not change a key.
        return self.significant((Events(less, before), Events(more, after)), by_share, longer)
