"""Compute for each key, family and host of two runs the chance that its counts differ so much by chance. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from math import exp, sqrt
from typing import NamedTuple

from fleettrace.store.diff.chance import Events, chance_of_ratio
from fleettrace.store.diff.hosts import Between, Part
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Side
from fleettrace.store.diff.noise import Noise, Timeline, Wander
from fleettrace.store.history.model import StoredTemplate
from fleettrace.summary.key import Key

__all__ = ["Candidate", "Pair", "overlap"]

_LEFT = 2.0
"""A key has left a host when the host's part of its requests has fallen by more than this factor."""

_MOVED_PART = 0.2
"""At least this part of its requests must have moved."""

_BY_RATE = 0.01
"""The largest chance of a change of the rate. It is not corrected for the number of tests, because the test of the
share is, and both must hold. A busy moment of the whole fleet moves all rates together."""

_LEARNED_FROM = 300
"""The usual burstiness is estimated from the timelines of this many hottest keys of each run."""

_TEMPLATE_PART = re.compile(r"\{\{|\}\}|(\{\})|.", re.DOTALL)

_Z_99 = 2.576
"""Standard deviations around the mean that 99 % of a normal distribution lie within."""

TimelinePair = tuple[Sequence[int], Sequence[int]]


class Candidate(NamedTuple):
    """One test: its chance, and the function that builds the finding if it is significant."""

    chance: float
    change: Callable[[float], Change]


class _Comparison(NamedTuple):
    """One subject in both runs. Windows are in seconds."""

    name: Key | str
    before: Between
    after: Between
    timelines: TimelinePair
    windows: tuple[float, float]


class Pair:
    """Two runs, restricted to the comparable hosts, and the noise of both."""

    def __init__(self, a: Part, b: Part, ratio: float) -> None:
        self.a, self.b = a, b
        self._ratio = ratio
        self._fleet: TimelinePair = (a.run.timeline, b.run.timeline)
        self._windows = (a.seconds or b.seconds, b.seconds or a.seconds)
        self._buckets = (max(len(a.run.timeline) - 1, 1), max(len(b.run.timeline) - 1, 1))
        hottest = {each.key: None for part in (a, b) for each in part.run.keys[:_LEARNED_FROM]}
        timelines = [self._timelines(key) for key in hottest]
        self._by_share = Noise([self._beside_rest(each) for each in timelines])
        self._by_rate = Noise([_over_time(each) for each in timelines])

    def keys(self) -> Iterable[Candidate]:
        """Yield a candidate for each key among the hottest of either run."""
        for key in {**self.a.keys, **self.b.keys}:
            yield self._judged(ComparedKind.KEY, self._compare(key))

    def hosts(self) -> Iterable[Candidate]:
        """Yield a candidate for each compared host."""
        for name in self.a.hosts:
            sides = (self.a.hosts[name], self.b.hosts[name])
            before, after = (Between(host.requests or 0, host.requests or 0, host.requests or 0) for host in sides)
            seconds = [host.requests / host.rate if host.requests and host.rate else 0.0 for host in sides]
            windows = (seconds[0] or seconds[1], seconds[1] or seconds[0])
            yield self._judged(
                ComparedKind.HOST, _Comparison(name, before, after, (sides[0].timeline, sides[1].timeline), windows)
            )

    def templates(self) -> Iterable[Candidate]:
        """Yield a candidate for each family of either run."""
        for name in {**self.a.templates, **self.b.templates}:
            before, after = (part.template(name, _others(name, part)) for part in (self.a, self.b))
            known = (self.a.templates.get(name), self.b.templates.get(name))
            timelines = (known[0].timeline if known[0] else (), known[1].timeline if known[1] else ())
            yield self._judged(ComparedKind.TEMPLATE, _Comparison(name, before, after, timelines, self._windows))

    def fleet(self, times: float) -> Iterable[Candidate]:
        """Yield a candidate for the total rate: whether it changed by more than the factor `times`."""
        if not self.a.total and not self.b.total:
            return
        before, after = (Between(total, total, total) for total in (self.a.total, self.b.total))
        counted = _Comparison("fleet.rate", before, after, self._fleet, self._windows)
        ends = Events(self.a.total, self._windows[0]), Events(self.b.total, self._windows[1])
        risen = ends[1].number * ends[0].exposure >= ends[0].number * ends[1].exposure
        less, more = ends if risen else ends[::-1]
        chance = 1.0
        if _larger(less, more, times):
            chance = _chance(less, more, 1.0, self._by_rate.wander(_over_time(self._fleet), self._buckets))
        kind = _kind(before, after, risen)
        yield Candidate(chance, lambda corrected: self._change(ComparedKind.FLEET, kind, counted, corrected))

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
            wander = self._by_rate.wander(_over_time(counted.timelines), self._buckets)
            left_it = _chance(Events(left[1].most, totals[1]), Events(left[0].least, totals[0]), _LEFT, wander)
            joined_it = _chance(Events(joined[0].most, totals[0]), Events(joined[1].least, totals[1]), _LEFT, wander)
            chance = max(left_it, joined_it)
        return Candidate(
            chance, lambda corrected: self._change(ComparedKind.KEY, ChangeKind.MOVED, counted, corrected, origin, goal)
        )

    def _compare(self, key: Key) -> _Comparison:
        return _Comparison(key, self.a.key(key), self.b.key(key), self._timelines(key), self._windows)

    def _timelines(self, key: Key) -> TimelinePair:
        known = (self.a.keys.get(key), self.b.keys.get(key))
        return (known[0].timeline if known[0] else (), known[1].timeline if known[1] else ())

    def _beside_rest(self, timelines: TimelinePair) -> list[Timeline]:
        """Return the subject's timeline with all other traffic as exposure."""
        pair = []
        for mine, fleet in zip(timelines, self._fleet, strict=True):
            padded = [*mine, *repeat(0, len(fleet) - len(mine))] if mine else []
            pair.append(Timeline(padded, [max(all_ - own, 0) for own, all_ in zip(padded, fleet, strict=False)]))
        return pair

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
            wander = self._by_rate.wander(_over_time(counted.timelines), self._buckets)
            if _chance(*by_rate, 1.0, wander) <= _BY_RATE:
                chance = _chance(*by_share, 1.0, self._share_wander(counted.timelines, by_share))
        return Candidate(chance, lambda corrected: self._change(subject, kind, counted, corrected))

    def _share_wander(self, timelines: TimelinePair, by_share: tuple[Events, Events]) -> Wander:
        """Return the wander of the subject and the rest together, including the rest's counting noise."""
        wander = self._by_share.wander(self._beside_rest(timelines), self._buckets)
        of_rest = 1 / by_share[0].exposure + 1 / by_share[1].exposure
        return Wander(wander.variance + of_rest, wander.doubt, wander.ceiling + of_rest)

    def _change(
        self, subject: ComparedKind, kind: ChangeKind, counted: _Comparison, chance: float, *hosts: str
    ) -> Change:
        before, after = counted.before, counted.after
        wander = self._by_rate.wander(_over_time(counted.timelines), self._buckets).variance
        least, most = _ratio(after.least, before.most, counted), _ratio(after.most, before.least, counted)
        origin, goal = hosts or (None, None)
        return Change(
            subject=subject,
            kind=kind,
            name=counted.name,
            before=_side(before, self.a, counted.windows[0]),
            after=_side(after, self.b, counted.windows[1]),
            ratio=_ratio(after.guess, before.guess, counted) if after.guess else None,
            ratio_min=None if least is None else least / _spread(after.least, before.most, wander),
            ratio_max=None if most is None else most * _spread(after.most, before.least, wander),
            chance=chance,
            host_before=origin,
            host_after=goal,
        )


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


def _side(count: Between, part: Part, window: float) -> Side:
    share = count.guess / part.total if part.total else None
    return Side(count.least, count.most, share, count.guess / window if window else None)


def _others(name: str, part: Part) -> list[StoredTemplate]:
    """Return the run's other families that can share keys with the family `name`."""
    return [each for each in part.run.templates if each.template != name and overlap(name, each.template)]


def _over_time(timelines: TimelinePair) -> list[Timeline]:
    """Return the subject's timeline with time as exposure: all buckets have the same length."""
    return [Timeline(timeline, [1.0] * len(timeline)) for timeline in timelines]


def overlap(a: str, b: str) -> bool:
    """Return whether a key can match both templates.

    Each run finds families among its own keys, so the next run may divide the same keys differently: `user:{}:profile`
    in one run can be half of `user:{}:{}` in the other. A pattern of the user (`~...`) counts as matching all."""
    if a.startswith("~") or b.startswith("~"):
        return True
    first, second = _parts(a), _parts(b)
    # Most templates differ in their constant beginning or end, which is quick to see.
    if _differ(first, second) or _differ(first[::-1], second[::-1]):
        return False
    return _meet(first, second)


def _parts(template: str) -> list[str | None]:
    """Return the characters of a template, with None for each variable part (one character or more)."""
    return [None if found[1] else found[0][0] for found in _TEMPLATE_PART.finditer(template)]


def _differ(a: Sequence[str | None], b: Sequence[str | None]) -> bool:
    for one, other in zip(a, b, strict=False):
        if one is None or other is None:
            return False
        if one != other:
            return True
    return False


def _meet(a: Sequence[str | None], b: Sequence[str | None]) -> bool:
    """Return whether one text can match both. A variable part takes one character, and then any number more."""
    row = [True] + [False] * len(b)
    for one in a:
        new = [False]
        for place, other in enumerate(b, 1):
            both = row[place - 1] and (one is None or other is None or one == other)
            new.append(both or (one is None and new[-1]) or (other is None and row[place]))
        row = new
    return row[-1]
