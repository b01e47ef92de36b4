"""The counts of several runs, each on hosts of its own, as those of one run. Pure.

The traffic of a fleet has a daily rhythm: an older run is taken to the level of the newest one, by the rates of the
hosts that both traced. Bounds are summed, so they hold for the sum. Counts are only scaled down, to the shortest
window: a rate keeps its value, and its counting noise is taken for larger than it is, never for smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor, log

from fleettrace.store.diff.hosts import Between, Lines, Part, incomplete
from fleettrace.store.history.model import StoredKey, StoredRun
from fleettrace.summary.key import Key

__all__ = ["Combined", "Counts", "is_representative", "level"]

_ALIKE = 0.02
"""Windows that differ by less count as equal."""


class Combined:
    """Several parts as one, with what `Pair` uses of a `Part`."""

    def __init__(self, parts: Sequence[Part], newest: StoredRun) -> None:
        levels = [level(part.run, newest) for part in parts]
        windows = [part.seconds / level for part, level in zip(parts, levels, strict=True)]
        self._parts = [
            (part, _scale(window, windows), level) for part, window, level in zip(parts, windows, levels, strict=True)
        ]
        self.hosts = {name: host for part in parts for name, host in part.hosts.items()}
        self.total = sum(round(part.total * scale) for part, scale, _ in self._parts)
        rates = [part.rate * level for part, _, level in self._parts if part.rate is not None]
        self.rate = sum(rates) if rates else None
        self.absent = sum(ceil(part.absent * scale) for part, scale, _ in self._parts)
        self.timeline = max(parts, key=lambda part: part.total).timeline
        self.keys: dict[Key, StoredKey] = {}
        for part in parts:
            for key, each in part.keys.items():
                known = self.keys.get(key)
                if each.top_host in part.hosts and (known is None or known.top_requests < each.top_requests):
                    self.keys[key] = each
                else:
                    self.keys.setdefault(key, each)
        self.templates = {name: each for part in reversed(parts) for name, each in part.templates.items()}

    @property
    def seconds(self) -> float:
        """The mean window over all hosts, in seconds."""
        return self.total / self.rate if self.rate else 0.0

    def key(self, key: Key) -> Between:
        """Return the requests of a key."""
        return _sum((part.key(key), scale) for part, scale, _ in self._parts)

    def template(self, name: str) -> Between:
        """Return the requests of a family."""
        return _sum((part.template(name), scale) for part, scale, _ in self._parts)

    def host(self, name: str) -> tuple[Between, float]:
        """Return the requests of a host, and its window in seconds."""
        part, scale, level = self._of(name)
        count, seconds = part.host(name)
        return _sum([(count, scale)]), seconds * scale / level

    def on_host(self, host: str, key: Key) -> Between:
        """Return the requests of a key on one host."""
        part, scale, _ = self._of(host)
        return _sum([(part.on_host(host, key), scale)])

    def key_lines(self, key: Key) -> Lines:
        """Return the timelines for a key, of the part with most of its requests."""
        return max((part for part, _, _ in self._parts), key=lambda part: part.key(key).guess).key_lines(key)

    def template_lines(self, name: str) -> Lines:
        """Return the timelines for a family, of the part with most of its requests."""
        most = max((part for part, _, _ in self._parts), key=lambda part: part.template(name).guess)
        return most.template_lines(name)

    def host_lines(self, name: str) -> Lines:
        """Return the timelines for a host."""
        return self._of(name)[0].host_lines(name)

    def _of(self, host: str) -> tuple[Part, float, float]:
        return next(each for each in self._parts if host in each[0].hosts)


Counts = Part | Combined


def level(run: StoredRun, newest: StoredRun) -> float:
    """Return the factor from the rates of an older run to those of the newest: the median over the hosts that both
    traced, so that one hot host does not count for all; of two in the middle, the one nearer to 1. It is 1 without such
    a host."""
    if run is newest:
        return 1.0
    older, newer = (_rates(each) for each in (run, newest))
    ratios = sorted(newer[name] / rate for name, rate in older.items() if rate and newer.get(name))
    if not ratios:
        return 1.0
    middle = ratios[(len(ratios) - 1) // 2], ratios[len(ratios) // 2]
    return min(middle, key=lambda ratio: abs(log(ratio)))


def is_representative(run: StoredRun, newest: StoredRun) -> bool:
    """Return whether the hosts that both runs traced are half of the older run's, so that they stand for the others."""
    older, newer = (_rates(each).keys() for each in (run, newest))
    return 2 * len(older & newer) >= len(older)


def _rates(run: StoredRun) -> dict[str, float]:
    """Return the rates of the hosts that the run traced completely."""
    return {host.host: host.rate or 0.0 for host in run.hosts if incomplete(host, "") is None}


def _scale(window: float, windows: Sequence[float]) -> float:
    """Return the factor from a window to the shortest one."""
    shortest = min((each for each in windows if each), default=0.0)
    return shortest / window if window > shortest * (1 + _ALIKE) else 1.0


def _sum(counts: Iterable[tuple[Between, float]]) -> Between:
    scaled = [(floor(one.least * scale), ceil(one.most * scale), one.guess * scale) for one, scale in counts]
    least, most, guess = (sum(column) for column in zip(*scaled, strict=True))
    return Between(int(least), int(most), guess)
