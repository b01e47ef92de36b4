"""Estimate how much burstier than chance the traffic of a run is, from the timelines of its keys and hosts. Pure.

Counts of independent requests have a variance equal to their mean. Counts of real traffic have more, mean + burst x
mean^2 in a time bucket, and neighboring buckets are correlated. Three parameters are estimated: the `burst` of each
timeline, the usual burst of all timelines (which stabilizes single estimates, because they come from a handful of
buckets), and the correlation of neighboring buckets (`memory`, from all timelines).

They give the `wander` of a count from one window to another: its relative variance without the counting noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import median
from typing import NamedTuple

__all__ = ["Noise", "Timeline", "Wander"]

_MIN_BUCKETS = 2
"""With fewer, burstiness cannot be estimated."""

_ENDS_APART = 6
"""From this many buckets on, the first and the last one, in which hosts begin and end, are ignored."""

_LEAST_WANDER = 0.03**2
"""The smallest wander assumed: 3 % from one window to the next, even if the buckets show less."""

_UNKNOWN_WANDER = 0.5**2
"""The wander assumed where no timeline has two buckets, as in windows of a second: that of the burstiest keys from one
second to the next."""

_LIKENESS = (1.0, 40.0)
"""Limits of the weight of the usual burstiness, in degrees of freedom, beside a timeline's own."""

_HOTTEST = 30
"""The hottest timelines, of which the bursts are known well enough to use their maximum."""

_MOST_MEMORY = 0.9

_SHORT_MEMORY = 0.6
"""The smallest memory assumed for windows with too few buckets to estimate it."""

_ROUNDS = 6


class Timeline(NamedTuple):
    """One count over the buckets of a window, and the exposure in each: other requests, or time."""

    counts: Sequence[int]
    exposure: Sequence[float]


class Wander(NamedTuple):
    """The relative variance of a ratio of two counts without its counting noise, and its uncertainty."""

    variance: float
    doubt: float
    """The variance of that estimate; 0 for a constant."""
    ceiling: float
    """The variance if the count is as bursty as the burstiest known ones: an upper estimate, without `doubt`. A change
    that is significant with it is significant."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """Statistics of one timeline's buckets in both runs."""

    mean: float
    """Requests in a bucket."""
    excess: float
    """Burst: the relative variance beyond the counting noise; can be negative by chance."""
    buckets: float
    """Complete buckets of one window."""
    carried: float
    """Relative covariance of neighboring buckets."""
    freedom: int


class Noise:
    """The burstiness of a pair of runs, estimated from all their timelines.

    Each timeline is a pair, one from each run; a missing or too short one is ignored.
    """

    def __init__(self, pairs: Sequence[Sequence[Timeline]]) -> None:
        fits = [fit for pair in pairs if (fit := _fit(pair)) is not None]
        self.usual = _usual(fits)
        self.most = _most(fits)
        self.likeness = _likeness(fits, self.usual or 0.0)
        self.memory = 0.0
        for _ in range(_ROUNDS if self.usual else 0):
            self.memory = _memory(fits, self.usual or 0.0, self.memory)
        if fits and min(fit.buckets for fit in fits) < _ENDS_APART:
            self.memory = max(self.memory, _SHORT_MEMORY)

    def wander(self, pair: Sequence[Timeline], buckets: Sequence[int]) -> Wander:
        """Return the wander of the ratio of two counts with these timelines, in windows of `buckets` buckets."""
        if self.usual is None:
            return Wander(2 * _UNKNOWN_WANDER, 0.0, 2 * _UNKNOWN_WANDER)
        fit = _fit(pair)
        own, counting, freedom, window = self.usual, 0.0, self.likeness, min(buckets)
        if fit is not None:
            freedom += fit.freedom
            counting = 1 / fit.mean
            own = (max(fit.excess, 0.0) * fit.freedom + self.usual * self.likeness) / freedom
            window = round(fit.buckets)
        of_burst = sum(_joined(number, self.memory) for number in buckets) / _seen(window, self.memory)
        # Correlated neighbors count for fewer (Bayley and Hammersley, 1946). A burst that is small beside the counting
        # noise of a bucket is not known well.
        freedom *= (1 - self.memory**2) / (1 + self.memory**2)
        doubt = 2 * (of_burst * (own + counting)) ** 2 / freedom
        least = _LEAST_WANDER * len(buckets)
        return Wander(max(own * of_burst, least), doubt, max(own * of_burst, self.most * of_burst, least))


@cache
def _joined(buckets: int, memory: float) -> float:
    """Return the part of a bucket's variance that remains in the mean of a window: 1/n for independent buckets, more
    for correlated ones."""
    weights = ((1 - step / buckets) * memory**step for step in range(1, buckets))
    return (1 + 2 * sum(weights)) / buckets


@cache
def _seen(buckets: int, memory: float) -> float:
    """Return the part of a bucket's variance that is visible around a window's mean, which is correlated with its
    buckets."""
    return max((1 - _joined(buckets, memory)) / (1 - 1 / buckets), 0.1) if buckets > 1 else 1.0


def _fit(pair: Sequence[Timeline]) -> _Fit | None:
    """Return the statistics of one count's buckets; None if there are too few, or no requests in them."""
    counts = squares = carried = 0.0
    freedom = number = windows = 0
    for timeline in pair:
        inner = _inner(timeline)
        total, exposure = sum(count for count, _ in inner), sum(part for _, part in inner)
        if len(inner) < _MIN_BUCKETS or total <= 0 or exposure <= 0:
            continue
        residuals = []
        for count, part in inner:
            expected = total * part / exposure
            squares += (count - expected) ** 2 / expected
            residuals.append(count / expected - 1)
        counts += total
        number += len(inner)
        freedom += len(inner) - 1
        carried += sum(a * b for a, b in pairwise(residuals))
        windows += 1
    if freedom == 0:
        return None
    mean = counts / number
    return _Fit(mean, (squares / freedom - 1) / mean, number / windows, carried / freedom, freedom)


def _inner(timeline: Timeline) -> list[tuple[int, float]]:
    """Return the buckets with exposure; only the complete ones, if there are enough."""
    buckets = [(count, part) for count, part in zip(timeline.counts, timeline.exposure, strict=False) if part > 0]
    return buckets[1:-1] if len(buckets) >= _ENDS_APART else buckets


def _usual(fits: Sequence[_Fit]) -> float | None:
    """Return the mean burst of all timelines, weighted by precision; None without timelines."""
    if not fits:
        return None
    known = sorted(fits, key=lambda fit: -fit.mean)[: max(20, len(fits) // 10)]
    usual = max(0.0, median(fit.excess for fit in known))
    for _ in range(_ROUNDS):
        weights = [fit.freedom * (fit.mean / (1 + usual * fit.mean)) ** 2 for fit in fits]
        excess = sum(weight * fit.excess for weight, fit in zip(weights, fits, strict=True))
        usual = max(0.0, excess / sum(weights))
    return usual


def _most(fits: Sequence[_Fit]) -> float:
    """Return the largest burst among the hottest timelines, for which bursts are known best."""
    hottest = sorted(fits, key=lambda fit: -fit.mean)[:_HOTTEST]
    return max((fit.excess for fit in hottest), default=0.0)


def _likeness(fits: Sequence[_Fit], usual: float) -> float:
    """Return how alike the bursts are, in degrees of freedom: beyond estimation noise, their relative variance is
    2 / freedom."""
    if not usual:
        return _LIKENESS[1]
    weights = differences = by_chance = 0.0
    for fit in fits:
        precision = fit.mean / (1 + usual * fit.mean)
        weight = fit.freedom * precision**2
        weights += weight
        differences += weight * (fit.excess / usual - 1) ** 2
        by_chance += weight * 2 / fit.freedom / (usual * precision) ** 2
    real = (differences - by_chance) / weights
    return min(max(2 / real, _LIKENESS[0]), _LIKENESS[1]) if real > 0 else _LIKENESS[1]


def _memory(fits: Sequence[_Fit], usual: float, memory: float) -> float:
    """Return the correlation of neighboring buckets, from 0 to 0.9.

    Residuals from a window's own mean underestimate it by the variance of that mean, which is added again, using the
    previous estimate `memory`.
    """
    carried = bursts = 0.0
    for fit in fits:
        weight = fit.freedom * (fit.mean / (1 + usual * fit.mean)) ** 2
        window = round(fit.buckets)
        burst = max(fit.excess, 0.0) / _seen(window, memory)
        carried += weight * (fit.carried + 1 / fit.mean / window + burst * _joined(window, memory))
        bursts += weight * burst
    return min(max(carried / bursts, 0.0), _MOST_MEMORY) if bursts > 0 else 0.0
