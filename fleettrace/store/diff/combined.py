"""The counts of several runs, each on hosts of its own, as those of one run. Pure.

Bounds are summed, so they hold for the sum. Longer windows are scaled down to the shortest: a rate keeps its value, and
its counting noise is taken for larger than it is, never for smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor

from fleettrace.store.diff.hosts import Between, Lines, Part
from fleettrace.store.history.model import StoredKey
from fleettrace.summary.key import Key

__all__ = ["Combined", "Counts"]

_ALIKE = 0.02
"""Windows that differ by less count as equal."""


class Combined:
    """Several parts as one, with what `Pair` uses of a `Part`."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = [(part, _scale(part, parts)) for part in parts]
        self.hosts = {name: host for part in parts for name, host in part.hosts.items()}
        self.total = sum(round(part.total * scale) for part, scale in self._parts)
        rates = [part.rate for part in parts if part.rate is not None]
        self.rate = sum(rates) if rates else None
        self.absent = sum(ceil(part.absent * scale) for part, scale in self._parts)
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
        return _sum((part.key(key), scale) for part, scale in self._parts)

    def template(self, name: str) -> Between:
        """Return the requests of a family."""
        return _sum((part.template(name), scale) for part, scale in self._parts)

    def host(self, name: str) -> tuple[Between, float]:
        """Return the requests of a host, and its window in seconds."""
        part, scale = self._of(name)
        count, seconds = part.host(name)
        return _sum([(count, scale)]), seconds * scale

    def on_host(self, host: str, key: Key) -> Between:
        """Return the requests of a key on one host."""
        part, scale = self._of(host)
        return _sum([(part.on_host(host, key), scale)])

    def key_lines(self, key: Key) -> Lines:
        """Return the timelines for a key, of the part with most of its requests."""
        return max((part for part, _ in self._parts), key=lambda part: part.key(key).guess).key_lines(key)

    def template_lines(self, name: str) -> Lines:
        """Return the timelines for a family, of the part with most of its requests."""
        return max((part for part, _ in self._parts), key=lambda part: part.template(name).guess).template_lines(name)

    def host_lines(self, name: str) -> Lines:
        """Return the timelines for a host."""
        return self._of(name)[0].host_lines(name)

    def _of(self, host: str) -> tuple[Part, float]:
        return next((part, scale) for part, scale in self._parts if host in part.hosts)


Counts = Part | Combined


def _scale(part: Part, parts: Sequence[Part]) -> float:
    """Return the factor from the part's window to the shortest one."""
    shortest = min((each.seconds for each in parts if each.seconds), default=0.0)
    return shortest / part.seconds if part.seconds > shortest * (1 + _ALIKE) else 1.0


def _sum(counts: Iterable[tuple[Between, float]]) -> Between:
    scaled = [(floor(one.least * scale), ceil(one.most * scale), one.guess * scale) for one, scale in counts]
    least, most, guess = (sum(column) for column in zip(*scaled, strict=True))
    return Between(int(least), int(most), guess)
