"""Compute for each key, family and host of two runs the chance that its counts differ so much by chance. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice, repeat
from math import exp, sqrt
from typing import NamedTuple

from fleettrace.store.diff.chance import Events, chance_of_ratio
from fleettrace.store.diff.combined import Counts
from fleettrace.store.diff.hosts import Between, Lines
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Side
from fleettrace.store.diff.noise import Noise, Timeline, Wander
from fleettrace.store.diff.selection import Elsewhere
from fleettrace.store.diff.visible import Visibility
from fleettrace.summary.key import Key

__all__ = ["FALSE_FINDINGS", "Candidate", "Pair"]

_LEFT = 2.0
"""A key has left a host when the host's part of its requests has fallen by more than this factor."""

_MOVED_PART = 0.2
"""At least this part of its requests must have moved."""

_BY_RATE = 0.01
"""The largest chance of a change of the rate. It is not corrected for the number of tests, because the test of the
share is, and both must hold. A busy moment of the whole fleet moves all rates together."""

FALSE_FINDINGS = 0.0005
"""The chance of any false finding in a comparison of two runs of an unchanged fleet: hourly, one in twelve weeks."""

_LEARNED_FROM = 300
"""The usual burstiness is estimated from the timelines of this many hottest keys of each run."""

_Z_99 = 2.576
"""Standard deviations around the mean that 99 % of a normal distribution lie within."""

LinePair = tuple[Lines, Lines]


class Candidate(NamedTuple):
    """One test: its chance, and the function that builds the finding if it is significant."""

    chance: float
    change: Callable[[float], Change]


class _Comparison(NamedTuple):
    """One subject in both runs. Windows are in seconds."""

    name: Key | str
    before: Between
    after: Between
    lines: LinePair
    windows: tuple[float, float]


class Pair:
    """Two runs, restricted to the comparable hosts, and the noise of both."""

    def __init__(self, a: Counts, b: Counts, ratio: float, elsewhere: Elsewhere = Elsewhere()) -> None:  # noqa: B008
        self.a, self.b = a, b
        self._ratio = ratio
        self._elsewhere = elsewhere
        self._windows = (a.seconds or b.seconds, b.seconds or a.seconds)
        self._buckets = (max(len(a.timeline) - 1, 1), max(len(b.timeline) - 1, 1))
        hottest = {key: None for part in (a, b) for key in islice(part.keys, _LEARNED_FROM)}
        lines = [self._lines(key) for key in hottest]
        self._by_share = Noise([_beside_rest(each) for each in lines])
        self._by_rate = Noise([_over_time(each) for each in lines])

    def keys(self) -> Iterable[Candidate]:
        """Yield a candidate for each key among the hottest of either run."""
        for key in {**self.a.keys, **self.b.keys}:
            yield self._judged(ComparedKind.KEY, self._compare(key))

    def hosts(self) -> Iterable[Candidate]:
        """Yield a candidate for each compared host."""
        for name in self.a.hosts:
            (before, first), (after, second) = self.a.host(name), self.b.host(name)
            windows = (first or second, second or first)
            lines = (self.a.host_lines(name), self.b.host_lines(name))
            yield self._judged(ComparedKind.HOST, _Comparison(name, before, after, lines, windows))

    def templates(self) -> Iterable[Candidate]:
        """Yield a candidate for each family of either run."""
        for name in {**self.a.templates, **self.b.templates}:
            lines = (self.a.template_lines(name), self.b.template_lines(name))
            counted = _Comparison(name, self.a.template(name), self.b.template(name), lines, self._windows)
            yield self._judged(ComparedKind.TEMPLATE, counted)

    def fleet(self, times: float) -> Iterable[Candidate]:
        """Yield a candidate for the total rate: whether it changed by more than the factor `times`."""
        if not self.a.total and not self.b.total:
            return
        before, after = (Between(total, total, total) for total in (self.a.total, self.b.total))
        lines = (Lines(self.a.timeline, self.a.timeline), Lines(self.b.timeline, self.b.timeline))
        counted = _Comparison("fleet.rate", before, after, lines, self._windows)
        ends = Events(self.a.total, self._windows[0]), Events(self.b.total, self._windows[1])
        risen = ends[1].number * ends[0].exposure >= ends[0].number * ends[1].exposure
        less, more = ends if risen else ends[::-1]
        chance = 1.0
        if _larger(less, more, times):
            chance = _chance(less, more, 1.0, self._by_rate.wander(_over_time(lines), self._buckets))
        kind = _kind(before, after, risen)
        yield Candidate(chance, lambda corrected: self._change(ComparedKind.FLEET, kind, counted, corrected))

    def visibility(self, tests: int) -> Visibility:
        """Return what the comparison could have shown, if `tests` candidates are tested."""
        lines = (Lines((), self.a.timeline), Lines((), self.b.timeline))

        def significant(by_rate: tuple[Events, Events], by_share: tuple[Events, Events], longer: float) -> bool:
            buckets = tuple(round(number * longer) for number in self._buckets)
            if _chance(*by_rate, 1.0, self._by_rate.wander(_over_time(lines), buckets)) > _BY_RATE:
                return False
            wander = _with_rest(self._by_share.wander(_beside_rest(lines), buckets), by_share)
            return _chance(*by_share, 1.0, wander) * tests <= FALSE_FINDINGS

        return Visibility((self.a.total, self.b.total), self._windows, self._ratio, significant)

    def moves(self) -> Iterable[Candidate]:
        """Yield a candidate for each key that is hottest on another host than before."""
        for key, was in self.a.keys.items():
            now = self.b.keys.get(key)
            if now is None or was.top_host == now.top_host or not was.requests or not now.requests:
                continue
            if all(part.hosts.keys() >= {was.top_host, now.top_host} for part in (self.a, self.b)):
                yield self._moved(key, was.top_host, now.top_host)

    def _moved(self, key: Key, origin: str, goal: str) -> Candidate:
        """Test whether the host `origin` has lost its part of the key's requests, and `goal` has gained such a part."""
        counted = self._compare(key)
        left = [part.on_host(origin, key) for part in (self.a, self.b)]
        joined = [part.on_host(goal, key) for part in (self.a, self.b)]
        totals = (max(counted.before.least, 1), max(counted.after.least, 1))
        lost = left[0].least / totals[0] - left[1].most / totals[1]
        gained = joined[1].least / totals[1] - joined[0].most / totals[0]
        chance = 1.0
        if min(lost, gained) >= _MOVED_PART:
            wander = self._by_rate.wander(_over_time(counted.lines), self._buckets)
            left_it = _chance(Events(left[1].most, totals[1]), Events(left[0].least, totals[0]), _LEFT, wander)
            joined_it = _chance(Events(joined[0].most, totals[0]), Events(joined[1].least, totals[1]), _LEFT, wander)
            chance = max(left_it, joined_it)
        return Candidate(
            chance, lambda corrected: self._change(ComparedKind.KEY, ChangeKind.MOVED, counted, corrected, origin, goal)
        )

    def _compare(self, key: Key) -> _Comparison:
        return _Comparison(key, self.a.key(key), self.b.key(key), self._lines(key), self._windows)

    def _lines(self, key: Key) -> LinePair:
        return self.a.key_lines(key), self.b.key_lines(key)

    def _judged(self, subject: ComparedKind, counted: _Comparison) -> Candidate:
        """Test whether it has risen or fallen by the least favorable bounds, as a share and as a rate."""
        before, after = counted.before, counted.after
        risen = after.guess * counted.windows[0] >= before.guess * counted.windows[1]
        less, more = (before.most, after.least) if risen else (after.most, before.least)
        windows = counted.windows if risen else counted.windows[::-1]
        totals = (self.a.total, self.b.total) if risen else (self.b.total, self.a.total)
        kind = _kind(before, after, risen)
        by_rate = Events(less, windows[0]), Events(more, windows[1])
        # Half a request avoids an exposure of 0 for a subject with all requests.
        by_share = Events(less, totals[0] - less + 0.5), Events(more, totals[1] - more + 0.5)
        chance = 1.0
        if _larger(*by_rate, self._ratio) and _larger(*by_share, self._ratio):
            wander = self._by_rate.wander(_over_time(counted.lines), self._buckets)
            if _chance(*by_rate, 1.0, wander) <= _BY_RATE:
                chance = _chance(*by_share, 1.0, self._share_wander(counted.lines, by_share))
        return Candidate(chance, lambda corrected: self._change(subject, kind, counted, corrected))

    def _share_wander(self, lines: LinePair, by_share: tuple[Events, Events]) -> Wander:
        """Return the wander of the subject and the rest together, including the rest's counting noise."""
        return _with_rest(self._by_share.wander(_beside_rest(lines), self._buckets), by_share)

    def _change(
        self, subject: ComparedKind, kind: ChangeKind, counted: _Comparison, chance: float, *hosts: str
    ) -> Change:
        before, after = counted.before, counted.after
        wander = self._by_rate.wander(_over_time(counted.lines), self._buckets).variance
        least, most = _ratio(after.least, before.most, counted), _ratio(after.most, before.least, counted)
        origin, goal = hosts or (None, None)
        lower = None if least is None else least / _spread(after.least, before.most, wander)
        upper = None if most is None else most * _spread(after.most, before.least, wander)
        first, second = counted.windows
        rates = (before.most / first if first else 0.0, after.most / second if second else 0.0)
        fleet_min, fleet_max = self._elsewhere.widened(subject, counted.name, rates, (lower, upper))
        return Change(
            subject=subject,
            kind=kind,
            name=counted.name,
            before=_side(before, self.a.total, counted.windows[0]),
            after=_side(after, self.b.total, counted.windows[1]),
            ratio=_ratio(after.guess, before.guess, counted) if after.guess else None,
            ratio_min=lower,
            ratio_max=upper,
            fleet_min=fleet_min,
            fleet_max=fleet_max,
            chance=chance,
            host_before=origin,
            host_after=goal,
        )


def _with_rest(wander: Wander, by_share: tuple[Events, Events]) -> Wander:
    """Return the wander with the rest's counting noise."""
    of_rest = 1 / by_share[0].exposure + 1 / by_share[1].exposure
    return Wander(wander.variance + of_rest, wander.doubt, wander.ceiling + of_rest)


def _spread(one: float, other: float, wander: float) -> float:
    """Return the factor around the ratio of two counts that holds 99 % of what chance makes of it."""
    return exp(_Z_99 * sqrt(1 / max(one, 1.0) + 1 / max(other, 1.0) + wander))


def _kind(before: Between, after: Between, risen: bool) -> ChangeKind:
    if risen:
        return ChangeKind.RISEN if before.guess else ChangeKind.NEW
    return ChangeKind.FALLEN if after.guess else ChangeKind.GONE


def _larger(a: Events, b: Events, ratio: float) -> bool:
    """Return whether b's rate is more than `ratio` times a's. It seldom is, and the test of its chance is slow."""
    return b.number * a.exposure > ratio * a.number * b.exposure


def _chance(a: Events, b: Events, ratio: float, wander: Wander) -> float:
    chance = chance_of_ratio(a, b, ratio, wander.variance, wander.doubt)
    return min(chance, chance_of_ratio(a, b, ratio, wander.ceiling)) if wander.doubt else chance


def _ratio(after: float, before: float, counted: _Comparison) -> float | None:
    """Return the rate after divided by the rate before; None if it is undefined."""
    windows = counted.windows
    return after * windows[0] / (before * windows[1]) if before and windows[1] else None


def _side(count: Between, total: int, window: float) -> Side:
    share = count.guess / total if total else None
    return Side(count.least, count.most, share, count.guess / window if window else None)


def _over_time(lines: LinePair) -> list[Timeline]:
    """Return the subject's timeline with time as exposure: all buckets have the same length."""
    return [Timeline(each.own, [1.0] * len(each.own)) for each in lines]


def _beside_rest(lines: LinePair) -> list[Timeline]:
    """Return the subject's timeline with all other traffic of its run as exposure."""
    pair = []
    for own, fleet in lines:
        padded = [*own, *repeat(0, len(fleet) - len(own))] if own else []
        pair.append(Timeline(padded, [max(all_ - mine, 0) for mine, all_ in zip(padded, fleet, strict=False)]))
    return pair
