"""Select the hosts of two runs that can be compared, and compute each run's counts on those alone. Pure.

A run stores the counts of a key over all hosts, and per host only those of its hottest keys. The counts of the excluded
hosts are therefore subtracted as bounds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from fleettrace.errors import HostState
from fleettrace.store.diff.families import overlap
from fleettrace.store.history.model import StoredKey, StoredRun
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult

__all__ = ["Between", "Lines", "Part", "complete_hosts", "different_means", "incomplete"]


class Between(NamedTuple):
    """A count with bounds."""

    least: int
    most: int
    guess: float
    """The most likely value."""


def complete_hosts(run: StoredRun) -> list[str]:
    """Return the hosts on which all traffic in the window was counted."""
    return [host.host for host in run.hosts if incomplete(host, "") is None]


def incomplete(host: HostResult, when: str) -> str | None:
    """Return the reason why some of the host's traffic in its window was not counted; None if all was."""
    if host.state is HostState.NO_INSTANCES:
        return None
    counted = all(each.requests is not None and each.window_s for each in host.instances)
    ended = any(each.error is not None and each.error.code == "memcached-ended" for each in host.instances)
    # An interrupted trace counted everything in a shorter window.
    return None if counted and host.instances and not ended else f"{host.state} {when}"


def different_means(a: HostResult, b: HostResult) -> str | None:
    """Return how the probes of a host differ between two runs; None if one run counted as the other did."""
    means = [{"exact" if i.probe.exact else str(i.probe.probe_kind) for i in host.instances} for host in (a, b)]
    if not a.instances or not b.instances or means[0] == means[1]:
        return None
    return f"counted by different means ({', '.join(sorted(means[0]))}; then {', '.join(sorted(means[1]))})"


class Lines(NamedTuple):
    """A subject's timeline, and that of the whole run which counted it."""

    own: Sequence[int]
    fleet: Sequence[int]


class Part:
    """The counts of one run on the compared hosts."""

    def __init__(self, run: StoredRun, common: Collection[str]) -> None:
        selected = set(common)
        self.run = run
        self.hosts = {host.host: host for host in run.hosts if host.host in selected}
        self.total = sum(host.requests or 0 for host in self.hosts.values())
        rates = [host.rate for host in self.hosts.values() if host.rate is not None]
        self.rate = sum(rates) if rates else None
        self.keys = {each.key: each for each in run.keys}
        self.templates = {each.template: each for each in run.templates}
        self.timeline = run.timeline
        self.absent = run.absent
        self._others = [host for host in run.hosts if host.host not in selected and host.requests]
        self._listed = {host.host: dict(host.top) for host in run.hosts}
        self._remaining = {host.host: max((host.requests or 0) - sum(dict(host.top).values()), 0) for host in run.hosts}

    @property
    def seconds(self) -> float:
        """The mean window over all hosts, in seconds."""
        return self.total / self.rate if self.rate else 0.0

    def key(self, key: Key) -> Between:
        """Return the requests of a key: of all hosts without the others, and by the compared hosts' own lists."""
        known = self.keys.get(key)
        listed, most = (0, self.run.absent) if known is None else (known.requests, known.requests_max)
        least = guess = float(listed)
        for host in self._others:
            lowest, highest = self._of_other(host, key, known)
            least, most, guess = least - highest, most - lowest, guess - (lowest + highest) / 2
        if known is not None and known.top_host in self.hosts:
            least = max(least, known.top_requests)
        if self._others and len(self.hosts) <= len(self._others):
            own = [self.on_host(host, key) for host in self.hosts]
            least, most = max(least, sum(one.least for one in own)), min(most, sum(one.most for one in own))
            guess = sum(one.guess for one in own)
        least = max(int(least), 0)
        most = max(min(most, self.total), least)
        return Between(least, most, min(max(guess, least), most))

    def host(self, name: str) -> tuple[Between, float]:
        """Return the requests of a compared host, and its window in seconds (0 if not known)."""
        result = self.hosts[name]
        requests = result.requests or 0
        seconds = requests / result.rate if requests and result.rate else 0.0
        return Between(requests, requests, requests), seconds

    def on_host(self, host: str, key: Key) -> Between:
        """Return the requests of a key on one of the compared hosts."""
        result = self.hosts[host]
        lowest, highest = self._of_other(result, key, self.keys.get(key))
        absent = sum(each.absent or 0 for each in result.instances)
        return Between(lowest, min(highest + absent, result.requests or 0), (lowest + highest) / 2)

    def _of_other(self, host: HostResult, key: Key, known: StoredKey | None) -> tuple[int, int]:
        """Return bounds of the requests that a host listed for a key."""
        listed = self._listed[host.host]
        if key in listed:
            return listed[key], listed[key]
        # The run has only the hottest keys of a host: any other key had at most as many as the last of them, and all
        # others together what remains of the host's requests.
        remaining = self._remaining[host.host]
        highest = min(host.top[-1][1], remaining) if host.top else remaining
        if known is not None:
            if known.hosts <= 1 and known.top_host:
                return (known.requests, known.requests) if known.top_host == host.host else (0, 0)
            highest = min(highest, known.top_requests) if known.top_host else highest
        return 0, highest

    def template(self, name: str) -> Between:
        """Return the requests of a family. Those of overlapping families can belong to it in the other run."""
        known = self.templates.get(name)
        others = sum(host.requests or 0 for host in self._others)
        overlapping = (each for each in self.run.templates if each.template != name and overlap(name, each.template))
        shared = sum(each.requests for each in overlapping)
        if known is None:
            # All unlisted keys, and all keys without a family, may belong to this one.
            unassigned = self.run.total - sum(each.requests for each in self.run.templates)
            return Between(0, min(max(unassigned, 0) + shared, self.total), 0.0)
        most = min(known.requests + self.run.total - self.run.listed + shared, self.total)
        least = max(known.requests - others, 0)
        return Between(least, max(most, least), max(known.requests - others / 2, least))

    def key_lines(self, key: Key) -> Lines:
        """Return the timelines for a key."""
        known = self.keys.get(key)
        return Lines(known.timeline if known else (), self.timeline)

    def template_lines(self, name: str) -> Lines:
        """Return the timelines for a family."""
        known = self.templates.get(name)
        return Lines(known.timeline if known else (), self.timeline)

    def host_lines(self, name: str) -> Lines:
        """Return the timelines for a compared host."""
        return Lines(self.hosts[name].timeline, self.timeline)
