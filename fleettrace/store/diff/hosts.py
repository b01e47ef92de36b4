"""Which hosts of two runs can be compared, and what each run counted on those alone. Pure.

A run's counts of a key are of all its hosts together, and only of each host's hottest keys is it known how many of them
came from it. What the hosts that are not compared had is therefore taken off within bounds.
"""

from __future__ import annotations

from typing import NamedTuple

from fleettrace.errors import HostState
from fleettrace.store.diff.model import Apart
from fleettrace.store.history.model import StoredKey, StoredRun, StoredTemplate
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult

__all__ = ["Between", "Part", "comparable", "not_selected", "whole_hosts"]


class Between(NamedTuple):
    """A count that is known within bounds."""

    least: int
    most: int
    guess: float
    """The likeliest: what was listed."""


def comparable(before: StoredRun, after: StoredRun) -> tuple[list[str], list[Apart]]:
    """The hosts traced wholly in both runs, by the same means, and those that were not, each with the reason."""
    common, apart = [], []
    earlier = {host.host: host for host in before.hosts}
    later = {host.host: host for host in after.hosts}
    for name in dict.fromkeys([*earlier, *later]):
        a, b = earlier.get(name), later.get(name)
        if a is None or b is None:
            continue
        why = _lacking(a, "before") or _lacking(b, "after") or _unlike(a, b)
        if why is None:
            common.append(name)
        else:
            apart.append(Apart(name, why))
    return common, apart


def not_selected(before: StoredRun, after: StoredRun) -> list[Apart]:
    """Return the hosts that only one of the runs selected: what they served during the other one was not measured."""
    earlier, later = ([host.host for host in run.hosts] for run in (before, after))
    return [Apart(name, "not selected after") for name in earlier if name not in set(later)] + [
        Apart(name, "not selected before") for name in later if name not in set(earlier)
    ]


def whole_hosts(run: StoredRun) -> list[str]:
    """The hosts whose traffic in the window was counted wholly."""
    return [host.host for host in run.hosts if _lacking(host, "") is None]


def _lacking(host: HostResult, when: str) -> str | None:
    """Why not all of the host's traffic in its window was counted; None when it was."""
    if host.state is HostState.NO_INSTANCES:
        return None
    whole = all(each.requests is not None and each.window_s for each in host.instances)
    ended = any(each.error is not None and each.error.code == "memcached-ended" for each in host.instances)
    # An interrupted trace counted everything in a shorter window.
    return None if whole and host.instances and not ended else f"{host.state} {when}"


def _unlike(a: HostResult, b: HostResult) -> str | None:
    means = [{"exact" if i.probe.exact else str(i.probe.probe_kind) for i in host.instances} for host in (a, b)]
    if not a.instances or not b.instances or means[0] == means[1]:
        return None
    return f"counted by different means ({', '.join(sorted(means[0]))}; then {', '.join(sorted(means[1]))})"


class Part:
    """What one run counted on the hosts compared."""

    def __init__(self, run: StoredRun, common: list[str]) -> None:
        wanted = set(common)
        self.run = run
        self.hosts = {host.host: host for host in run.hosts if host.host in wanted}
        self.total = sum(host.requests or 0 for host in self.hosts.values())
        rates = [host.rate for host in self.hosts.values() if host.rate is not None]
        self.rate = sum(rates) if rates else None
        self.keys = {each.key: each for each in run.keys}
        self.templates = {each.template: each for each in run.templates}
        self._others = [host for host in run.hosts if host.host not in wanted and host.requests]
        self._listed = {host.host: dict(host.top) for host in run.hosts}

    @property
    def seconds(self) -> float:
        """The window that `total` came in, over all hosts."""
        return self.total / self.rate if self.rate else 0.0

    def key(self, key: Key) -> Between:
        """The requests of a key."""
        known = self.keys.get(key)
        listed, most = (0, self.run.absent) if known is None else (known.requests, known.requests_max)
        least = guess = float(listed)
        for host in self._others:
            lowest, highest = self._of_other(host, key, known)
            least, most, guess = least - highest, most - lowest, guess - (lowest + highest) / 2
        if known is not None and known.top_host in self.hosts:
            least = max(least, known.top_requests)
        least = max(int(least), 0)
        most = max(min(most, self.total), least)
        return Between(least, most, min(max(guess, least), most))

    def on_host(self, host: str, key: Key) -> Between:
        """The requests of a key on one of the hosts compared."""
        result = self.hosts[host]
        lowest, highest = self._of_other(result, key, self.keys.get(key))
        hidden = sum(each.absent or 0 for each in result.instances)
        return Between(lowest, min(highest + hidden, result.requests or 0), (lowest + highest) / 2)

    def _of_other(self, host: HostResult, key: Key, known: StoredKey | None) -> tuple[int, int]:
        """The bounds of what a host listed of a key."""
        listed = self._listed[host.host]
        if key in listed:
            return listed[key], listed[key]
        # A host keeps its hottest keys: the others had no more than the last of those.
        highest = host.top[-1][1] if host.top else host.requests or 0
        if known is not None:
            if known.hosts <= 1 and known.top_host:
                return (known.requests, known.requests) if known.top_host == host.host else (0, 0)
            highest = min(highest, known.top_requests) if known.top_host else highest
        return 0, highest

    def template(self, name: str, overlapping: list[StoredTemplate]) -> Between:
        """The requests of a family; those that `overlapping` families have can be its, by another run's division."""
        known = self.templates.get(name)
        others = sum(host.requests or 0 for host in self._others)
        also = sum(each.requests for each in overlapping)
        if known is None:
            # Keys that no host listed, and those of no family, may be all of this one.
            loose = self.run.total - sum(each.requests for each in self.run.templates)
            return Between(0, min(max(loose, 0) + also, self.total), 0.0)
        most = min(known.requests + self.run.total - self.run.listed + also, self.total)
        least = max(known.requests - others, 0)
        return Between(least, max(most, least), max(known.requests - others / 2, least))
