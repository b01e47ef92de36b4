"""Compute the probability that chance alone makes one count so much larger than another. Pure.

The conditional binomial test compares two counts: given n = a + b events, those of b are binomial with b's part of the
exposure. It is exact for Poisson counts, including small ones. The rates of traffic that is burstier than Poisson
wander: the test is then averaged over a log-normal distribution of the ratio. If the burstiness is itself an estimate
from few slices, Student's t replaces the normal distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, exp, lgamma, log, log1p, pi, sqrt
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Events", "at_most_z", "beta_part", "chance_of_ratio", "holm", "student_tail"]

_LARGE = 500.0
"""From this many events on, the logarithm of a count is close to normal."""

_NORMAL = NormalDist()
_TINY = 1e-300
_MANY_FREEDOMS = 1000.0

_NO_FINDING = 0.01
"""A chance of at least this much is no finding, so its exact value does not matter."""

_NODES = [(z / 2, exp(-z * z / 8) / sqrt(2 * pi) / 2) for z in range(-13, 14)]
"""The normal distribution in steps of half a standard deviation, small enough to integrate a smooth function
precisely."""


class Events(NamedTuple):
    """A count and its exposure: time, or other requests."""

    number: float
    exposure: float


def chance_of_ratio(a: Events, b: Events, ratio: float, wander: float, doubt: float = 0.0) -> float:
    """Return the chance of at least `b`'s events, given those of `a`, if b's rate is at most `ratio` times a's.

    `wander` is the relative variance of the ratio of the rates without the counting noise, and `doubt` the variance of
    that estimate.
    """
    if b.number <= 0 or a.exposure <= 0 or b.exposure <= 0:
        return 1.0
    variance = 1 / max(a.number, 1.0) + 1 / b.number + wander
    if min(a.number, b.number) > _LARGE:
        seen = b.number / a.number / ratio * a.exposure / b.exposure
        chance = _normal_tail(log(seen) / sqrt(variance))
    else:
        chance = _binomial_tail(a, b, ratio)
        if chance < _NO_FINDING and wander > 0:
            spread = sqrt(wander)
            chance = sum(part * _binomial_tail(a, b, ratio * exp(z * spread)) for z, part in _NODES)
    if chance >= _NO_FINDING or doubt <= 0:
        return chance
    # Satterthwaite: an estimated variance has 2 * variance^2 / (variance of the estimate) degrees of freedom.
    freedom = 2 * variance**2 / doubt
    return chance if freedom >= _MANY_FREEDOMS else student_tail(at_most_z(chance), freedom)


def _binomial_tail(a: Events, b: Events, ratio: float) -> float:
    return beta_part(b.number, a.number + 1, ratio * b.exposure / (a.exposure + ratio * b.exposure))


def at_most_z(chance: float) -> float:
    """Return the z that a normal value exceeds with this chance (at most a half)."""
    return -_NORMAL.inv_cdf(max(chance, _TINY))


def _normal_tail(z: float) -> float:
    return max(erfc(z / sqrt(2)) / 2, _TINY)


def student_tail(t: float, freedom: float) -> float:
    """Return the chance that Student's t exceeds `t`, for t >= 0."""
    return beta_part(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2


def beta_part(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), for a and b above 0.

    Uses its continued fraction (Abramowitz and Stegun 26.5.8) with Lentz's method, on the side that converges fast.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 2000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + step * d)
            c = _not_zero(1 + step / c)
            value *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def holm(chances: Sequence[float], tested: int) -> list[float]:
    """Return the chances corrected for `tested` comparisons by Holm's method.

    If all up to a limit are accepted, the chance of any false one is at most that limit, even if they depend on each
    other.
    """
    order = sorted(range(len(chances)), key=chances.__getitem__)
    corrected = [1.0] * len(chances)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, chances[index] * max(tested - place, 1)))
        corrected[index] = highest
    return corrected
