"""How much burstier than chance the traffic of a run is, read from the timelines of its keys and hosts. Pure.

Counts of independent requests have a variance equal to their mean; those of real traffic have more: mean + burst x
mean^2 in a bucket of time, and what a bucket has too much its neighbours have too. Three things are estimated: each
timeline's own `burst`, the usual one of all timelines (which steadies those of single ones, a handful of buckets say
little), and how far one bucket's excess goes on into the next (`memory`, of all timelines together).

From these comes the `wander` of a count from one window to another: the relative variance that it has beside the
counting noise.
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
"""Fewer say nothing about burstiness."""

_ENDS_APART = 6
"""Buckets from which on the first and the last one, within which hosts begin and end, are left out."""

_LEAST_WANDER = 0.03**2
"""No traffic is steadier than 3 % from one window to the next, whatever the buckets of one of them say."""

_UNKNOWN_WANDER = 0.05**2
"""Where there are no timelines to tell from."""

_LIKENESS = (1.0, 40.0)
"""Degrees of freedom that the usual burstiness may count for, beside a timeline's own."""

_HOTTEST = 30
"""Courses that are known well enough for the burstiest of them to be telling."""

_MOST_MEMORY = 0.9

_SHORT_MEMORY = 0.6
"""What is assumed at least of windows with too few buckets to see it in."""

_ROUNDS = 6


class Timeline(NamedTuple):
    """One count over the buckets of a window, and the exposure in each: the rest's requests, or time."""

    counts: Sequence[int]
    exposure: Sequence[float]


class Wander(NamedTuple):
    """The relative variance of a ratio of two counts beside its counting noise, and how well that is known."""

    variance: float
    doubt: float
    """The variance of that estimate itself; 0 where it is a constant."""
    ceiling: float
    """What it is if the count is as bursty as the burstiest ones known, and no more: without doubt, but more. A change
    that stands out from this stands out, too."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """What the buckets of one timeline in both runs say."""

    mean: float
    """Requests in a bucket."""
    excess: float
    """Burst: the relative variance beyond the counting noise; may be below 0, by chance."""
    buckets: float
    """Whole buckets of one window."""
    carried: float
    """Relative covariance of neighbouring buckets."""
    freedom: int


class Noise:
    """The burstiness of a pair of runs, learned from all timelines of it and asked for one count at a time.

    A timeline is given as those of the two runs; a run that has none, or too short a one, says nothing.
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
        """What the ratio of two counts with these timelines has, in windows of so many `buckets`, by its own burstiness
        and the usual one."""
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
        # Neighbours that know of each other count for fewer (Bayley and Hammersley, 1946). And what the counting noise
        # of a bucket is large beside is not known well, however small it looks.
        freedom *= (1 - self.memory**2) / (1 + self.memory**2)
        doubt = 2 * (of_burst * (own + counting)) ** 2 / freedom
        least = _LEAST_WANDER * len(buckets)
        return Wander(max(own * of_burst, least), doubt, max(own * of_burst, self.most * of_burst, least))


@cache
def _joined(buckets: int, memory: float) -> float:
    """What is left of a bucket's variance in the mean of a window: 1/n for buckets that know nothing of each other, and
    more for those that do."""
    weights = ((1 - step / buckets) * memory**step for step in range(1, buckets))
    return (1 + 2 * sum(weights)) / buckets


@cache
def _seen(buckets: int, memory: float) -> float:
    """The part of a bucket's variance that is seen around a window's own mean, which goes along with its buckets."""
    return max((1 - _joined(buckets, memory)) / (1 - 1 / buckets), 0.1) if buckets > 1 else 1.0


def _fit(pair: Sequence[Timeline]) -> _Fit | None:
    """What one count's buckets say; None when there are too few, or next to no requests in them."""
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
    """The buckets that say something; those that are whole, where there are enough."""
    buckets = [(count, part) for count, part in zip(timeline.counts, timeline.exposure, strict=False) if part > 0]
    return buckets[1:-1] if len(buckets) >= _ENDS_APART else buckets


def _usual(fits: Sequence[_Fit]) -> float | None:
    """The burst of all timelines together, each weighted by how well it is known; None without timelines."""
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
    """The burst of the burstiest of the hottest timelines, whose bursts are known best."""
    hottest = sorted(fits, key=lambda fit: -fit.mean)[:_HOTTEST]
    return max((fit.excess for fit in hottest), default=0.0)


def _likeness(fits: Sequence[_Fit], usual: float) -> float:
    """How alike the bursts are, in degrees of freedom: what they differ by, beyond what chance makes of their
    estimates, is a variance of 2 / freedom of the usual burst."""
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
    """The part of a bucket's excess that goes on into the next, from 0 to 0.9.

    Residuals from a window's own mean seem to know less of each other than they do: by the variance of that mean, which
    is added again, by the last guess of `memory`.
    """
    carried = bursts = 0.0
    for fit in fits:
        weight = fit.freedom * (fit.mean / (1 + usual * fit.mean)) ** 2
        window = round(fit.buckets)
        burst = max(fit.excess, 0.0) / _seen(window, memory)
        carried += weight * (fit.carried + 1 / fit.mean / window + burst * _joined(window, memory))
        bursts += weight * burst
    return min(max(carried / bursts, 0.0), _MOST_MEMORY) if bursts > 0 else 0.0
