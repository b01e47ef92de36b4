"""Two runs side by side: each thing counted in them, and how likely chance makes its counts so different. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from math import exp, sqrt
from typing import NamedTuple

from fleettrace.store.diff.chance import Events, chance_of_ratio
from fleettrace.store.diff.families import overlap
from fleettrace.store.diff.hosts import Between, Part
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Side
from fleettrace.store.diff.noise import Noise, Timeline, Wander
from fleettrace.store.history.model import StoredTemplate
from fleettrace.summary.key import Key

__all__ = ["Candidate", "Pair"]

_LEFT = 2.0
"""A key has left a host when the host's part of its requests has fallen to less than one of this."""

_MOVED_PART = 0.2
"""And when at least this part of its requests was there, and is now elsewhere."""

_BY_RATE = 0.01
"""The chance of a change of the rate that is still one. It is not corrected for how many are looked at: the share is,
and both have to hold; a busy moment of the whole fleet moves all rates together."""

_LEARNED_FROM = 300
"""The hottest keys of either run, from whose timelines it is learned how bursty traffic usually is."""

_Z_99 = 2.576
"""Standard deviations around the mean that 99 % of a normal distribution lie within."""

Courses = tuple[Sequence[int], Sequence[int]]


class Candidate(NamedTuple):
    """Something looked at: how likely it is by chance, and the finding that it makes when it is not."""

    chance: float
    change: Callable[[float], Change]


class _Counted(NamedTuple):
    """One thing in both runs. Windows are in seconds."""

    name: Key | str
    before: Between
    after: Between
    timelines: Courses
    windows: tuple[float, float]


class Pair:
    """Two runs, cut down to the hosts that can be compared, and the noise of both together."""

    def __init__(self, a: Part, b: Part, ratio: float) -> None:
        self.a, self.b = a, b
        self._ratio = ratio
        self._fleet: Courses = (a.run.timeline, b.run.timeline)
        self._windows = (a.seconds or b.seconds, b.seconds or a.seconds)
        self._buckets = (max(len(a.run.timeline) - 1, 1), max(len(b.run.timeline) - 1, 1))
        hottest = {each.key: None for part in (a, b) for each in part.run.keys[:_LEARNED_FROM]}
        timelines = [self._timelines(key) for key in hottest]
        self._by_share = Noise([self._beside_rest(each) for each in timelines])
        self._by_rate = Noise([_over_time(each) for each in timelines])

    def keys(self) -> Iterable[Candidate]:
        """The keys that are among the hottest of one run or the other."""
        for key in {**self.a.keys, **self.b.keys}:
            yield self._judged(ComparedKind.KEY, self._counted(key))

    def hosts(self) -> Iterable[Candidate]:
        """The hosts compared."""
        for name in self.a.hosts:
            sides = (self.a.hosts[name], self.b.hosts[name])
            before, after = (Between(host.requests or 0, host.requests or 0, host.requests or 0) for host in sides)
            seconds = [host.requests / host.rate if host.requests and host.rate else 0.0 for host in sides]
            windows = (seconds[0] or seconds[1], seconds[1] or seconds[0])
            yield self._judged(
                ComparedKind.HOST, _Counted(name, before, after, (sides[0].timeline, sides[1].timeline), windows)
            )

    def templates(self) -> Iterable[Candidate]:
        """The families of either run."""
        for name in {**self.a.templates, **self.b.templates}:
            before, after = (part.template(name, _others(name, part)) for part in (self.a, self.b))
            known = (self.a.templates.get(name), self.b.templates.get(name))
            timelines = (known[0].timeline if known[0] else (), known[1].timeline if known[1] else ())
            yield self._judged(ComparedKind.TEMPLATE, _Counted(name, before, after, timelines, self._windows))

    def moves(self) -> Iterable[Candidate]:
        """The keys that are hottest on another host than before."""
        for key, was in self.a.keys.items():
            now = self.b.keys.get(key)
            if now is None or was.top_host == now.top_host or not was.requests or not now.requests:
                continue
            if all(part.hosts.keys() >= {was.top_host, now.top_host} for part in (self.a, self.b)):
                yield self._moved(key, was.top_host, now.top_host)

    def _moved(self, key: Key, origin: str, goal: str) -> Candidate:
        """Whether the host `origin` has lost its part of the key's requests, and `goal` has gained such a part."""
        counted = self._counted(key)
        left = [part.on_host(origin, key) for part in (self.a, self.b)]
        joined = [part.on_host(goal, key) for part in (self.a, self.b)]
        whole = (max(counted.before.least, 1), max(counted.after.least, 1))
        lost = left[0].least / whole[0] - left[1].most / whole[1]
        gained = joined[1].least / whole[1] - joined[0].most / whole[0]
        chance = 1.0
        if min(lost, gained) >= _MOVED_PART:
            wander = self._by_rate.wander(_over_time(counted.timelines), self._buckets)
            left_it = _chance(Events(left[1].most, whole[1]), Events(left[0].least, whole[0]), _LEFT, wander)
            joined_it = _chance(Events(joined[0].most, whole[0]), Events(joined[1].least, whole[1]), _LEFT, wander)
            chance = max(left_it, joined_it)
        return Candidate(
            chance, lambda corrected: self._change(ComparedKind.KEY, ChangeKind.MOVED, counted, corrected, origin, goal)
        )

    def _counted(self, key: Key) -> _Counted:
        return _Counted(key, self.a.key(key), self.b.key(key), self._timelines(key), self._windows)

    def _timelines(self, key: Key) -> Courses:
        known = (self.a.keys.get(key), self.b.keys.get(key))
        return (known[0].timeline if known[0] else (), known[1].timeline if known[1] else ())

    def _beside_rest(self, timelines: Courses) -> list[Timeline]:
        """A thing's timeline against that of all other traffic."""
        pair = []
        for mine, fleet in zip(timelines, self._fleet, strict=True):
            padded = [*mine, *repeat(0, len(fleet) - len(mine))] if mine else []
            pair.append(Timeline(padded, [max(all_ - own, 0) for own, all_ in zip(padded, fleet, strict=False)]))
        return pair

    def _judged(self, subject: ComparedKind, counted: _Counted) -> Candidate:
        """Risen or fallen, whichever it is, by the bounds that are worst for that: as a share and as a rate."""
        before, after = counted.before, counted.after
        risen = after.guess * counted.windows[0] >= before.guess * counted.windows[1]
        less, more = (before.most, after.least) if risen else (after.most, before.least)
        windows = counted.windows if risen else counted.windows[::-1]
        totals = (self.a.total, self.b.total) if risen else (self.b.total, self.a.total)
        kind = _kind(before, after, risen)
        by_rate = Events(less, windows[0]), Events(more, windows[1])
        # Half a request, so that what is everything can be set against something.
        by_share = Events(less, totals[0] - less + 0.5), Events(more, totals[1] - more + 0.5)
        chance = 1.0
        if _larger(*by_rate, self._ratio) and _larger(*by_share, self._ratio):
            wander = self._by_rate.wander(_over_time(counted.timelines), self._buckets)
            if _chance(*by_rate, 1.0, wander) <= _BY_RATE:
                chance = _chance(*by_share, 1.0, self._share_wander(counted.timelines, by_share))
        return Candidate(chance, lambda corrected: self._change(subject, kind, counted, corrected))

    def _share_wander(self, timelines: Courses, by_share: tuple[Events, Events]) -> Wander:
        """What the thing and the rest have together, the rest's counting noise included."""
        wander = self._by_share.wander(self._beside_rest(timelines), self._buckets)
        of_rest = 1 / by_share[0].exposure + 1 / by_share[1].exposure
        return Wander(wander.variance + of_rest, wander.doubt, wander.ceiling + of_rest)

    def _change(self, subject: ComparedKind, kind: ChangeKind, counted: _Counted, chance: float, *hosts: str) -> Change:
        before, after = counted.before, counted.after
        wander = self._by_rate.wander(_over_time(counted.timelines), self._buckets).variance
        spread = exp(_Z_99 * sqrt(1 / max(before.guess, 1.0) + 1 / max(after.guess, 1.0) + wander))
        least, most = _ratio(after.least, before.most, counted), _ratio(after.most, before.least, counted)
        origin, goal = hosts or (None, None)
        return Change(
            subject=subject,
            kind=kind,
            name=counted.name,
            before=_side(before, self.a, counted.windows[0]),
            after=_side(after, self.b, counted.windows[1]),
            ratio=_ratio(after.guess, before.guess, counted) if after.guess else None,
            ratio_min=None if least is None else least / spread,
            ratio_max=None if most is None else most * spread,
            chance=chance,
            host_before=origin,
            host_after=goal,
        )


def _kind(before: Between, after: Between, risen: bool) -> ChangeKind:
    if risen:
        return ChangeKind.RISEN if before.guess else ChangeKind.NEW
    return ChangeKind.FALLEN if after.guess else ChangeKind.GONE


def _larger(a: Events, b: Events, ratio: float) -> bool:
    """Whether b's rate is more than `ratio` times a's at all, chance aside: seldom, and the rest costs more to tell."""
    return b.number * a.exposure > ratio * a.number * b.exposure


def _chance(a: Events, b: Events, ratio: float, wander: Wander) -> float:
    chance = chance_of_ratio(a, b, ratio, wander.variance, wander.doubt)
    return min(chance, chance_of_ratio(a, b, ratio, wander.ceiling)) if wander.doubt else chance


def _ratio(after: float, before: float, counted: _Counted) -> float | None:
    """The rate after as a multiple of that before; None where there is no such number."""
    windows = counted.windows
    return after * windows[0] / (before * windows[1]) if before and windows[1] else None


def _side(count: Between, part: Part, window: float) -> Side:
    share = count.guess / part.total if part.total else None
    return Side(count.least, count.most, share, count.guess / window if window else None)


def _others(name: str, part: Part) -> list[StoredTemplate]:
    """The run's other families that keys of the family `name` may be in."""
    return [each for each in part.run.templates if each.template != name and overlap(name, each.template)]


def _over_time(timelines: Courses) -> list[Timeline]:
    """A thing's timeline by itself: all buckets are of one length."""
    return [Timeline(timeline, [1.0] * len(timeline)) for timeline in timelines]
