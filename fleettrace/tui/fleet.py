"""The counts so far: the slices of all hosts, merged as they arrive, for the display. Pure.

The report at the end is made from the hosts' own summaries, so little is stored here: the hottest keys, by the time at
which a slice arrived.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import nlargest

from fleettrace.errors import HostState
from fleettrace.summary.counts import KeyCount, Summary, add_timelines
from fleettrace.summary.key import Key
from fleettrace.sweep.events import Event, HostFinished, HostProgressed, HostStarted, Phase, RunStarted, SliceArrived
from fleettrace.sweep.settings import TIMELINE_BUCKETS

__all__ = ["RECENT_S", "LiveFleet", "LiveHost", "LiveKey"]

RECENT_S = 5
"""Seconds over which a current rate is measured: hosts send a slice a second, some of them late."""

FLEET_KEYS = 50_000
"""Number of keys stored of the fleet, the hottest ones, and for a moment twice as many; HOST_KEYS of each host."""
HOST_KEYS = 2_000


@dataclass(slots=True)
class LiveKey:
    """The counts of a key so far."""

    count: KeyCount
    recent: int = 0
    """Requests that arrived in the last `RECENT_S` seconds."""


@dataclass(slots=True)
class LiveHost:
    """The counts and the state of a host so far."""

    phase: str = "waiting"
    state: HostState | None = None
    """None: not finished."""
    message: str = ""
    requests: int = 0
    recent: int = 0
    updated_at: float | None = None
    """The time at which its last slice arrived, or its trace started."""
    offset: int = 0
    """Number of buckets by which its trace started later than the first host's."""
    covered_s: float = 0.0
    """Seconds that its recent slices cover: the time since the slice before, also when slices arrive late."""
    instances: set[str] = field(default_factory=set)
    keys: dict[Key, int] = field(default_factory=dict)
    timeline: list[int] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether its requests were counted; the count may be 0."""
        return bool(self.instances)


@dataclass(slots=True)
class _Second:
    """The counts that arrived in one second."""

    at: int
    keys: dict[Key, int] = field(default_factory=dict)
    hosts: dict[str, int] = field(default_factory=dict)
    covered_s: dict[str, float] = field(default_factory=dict)


class LiveFleet:
    """The state of a sweep so far. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.run = ""
        self.seconds = 0.0
        self.selected = 0
        self.requests = 0
        self.recent = 0
        self.hosts: dict[str, LiveHost] = {}
        self.keys: dict[Key, LiveKey] = {}
        self.sizes: dict[Key, int] = {}
        """Bytes of the values that memcached reported on finished hosts."""
        self.began: float | None = None
        """The time at which the first host started to count."""
        self._seconds: deque[_Second] = deque()

    @property
    def tracing(self) -> int:
        """The number of hosts with a running trace."""
        return sum(host.state is None and host.phase == Phase.TRACE for host in self.hosts.values())

    @property
    def done(self) -> int:
        """The number of finished hosts, failed ones included."""
        return sum(host.state is not None for host in self.hosts.values())

    @property
    def failed(self) -> list[str]:
        """The finished hosts that were not traced completely."""
        return [name for name, host in self.hosts.items() if host.state is not None and not host.state.complete]

    def take(self, event: Event, at: float) -> None:
        """Take an event that happened at a time."""
        self.forget(at)
        match event:
            case RunStarted(run, hosts, seconds):
                self.run, self.selected, self.seconds = run, hosts, seconds
            case HostStarted(name):
                self._host(name)
            case HostProgressed(name, phase):
                host = self._host(name)
                host.phase = phase.value
                if phase is Phase.TRACE:
                    host.updated_at = at
                    self.began = at if self.began is None else self.began
                    host.offset = round((at - self.began) / max(self.seconds / TIMELINE_BUCKETS, 1.0))
            case SliceArrived(name, slices):
                self._cover(name, at)
                for instance, part in slices.items():
                    self._add(name, instance, part)
            case HostFinished(name, state, result):
                host = self._host(name)
                host.state, host.message = state, result.error.message if result.error is not None else ""
                self.sizes.update((key, facts.size) for key, facts in result.items.items() if facts.size is not None)

    def forget(self, at: float) -> None:
        """Let go of what is no longer recent."""
        while self._seconds and self._seconds[0].at <= at - RECENT_S:
            old = self._seconds.popleft()
            for key, requests in old.keys.items():
                if key in self.keys:  # One that was let go and came back has not all of it.
                    self.keys[key].recent = max(self.keys[key].recent - requests, 0)
            for name, requests in old.hosts.items():
                self.hosts[name].recent -= requests
                self.recent -= requests
            for name, seconds in old.covered_s.items():
                self.hosts[name].covered_s -= seconds

    @property
    def span_s(self) -> float:
        """Seconds that the recent requests are about, by which a present rate is theirs."""
        rate = sum(host.recent / max(host.covered_s, 1.0) for host in self.hosts.values())
        return self.recent / rate if rate else 1.0

    @property
    def buckets(self) -> int:
        """The number of buckets that are complete on every host that sends slices."""
        lately = [len(host.timeline) - 1 for host in self.hosts.values() if host.covered_s > 0]
        return max(min(lately, default=0), 1)

    def hosts_of(self, key: Key) -> list[tuple[str, int]]:
        """The hosts that a key was counted on, the hottest first."""
        found = [(name, host.keys[key]) for name, host in self.hosts.items() if key in host.keys]
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def _host(self, name: str) -> LiveHost:
        return self.hosts.setdefault(name, LiveHost())

    def _cover(self, name: str, at: float) -> None:
        """Note that a slice arrived."""
        if not self._seconds or self._seconds[-1].at != int(at):
            self._seconds.append(_Second(int(at)))
        host, second = self._host(name), self._seconds[-1]
        seconds = 1.0 if host.updated_at is None else at - host.updated_at
        host.updated_at = at
        host.covered_s += seconds
        second.covered_s[name] = second.covered_s.get(name, 0.0) + seconds

    def _add(self, name: str, instance: str, part: Summary) -> None:
        second = self._seconds[-1]
        host = self._host(name)
        host.instances.add(instance)
        host.requests += part.total
        host.recent += part.total
        before = [0] * host.offset
        host.timeline = add_timelines(host.timeline, [*before, *part.timeline])
        self.requests += part.total
        self.recent += part.total
        second.hosts[name] = second.hosts.get(name, 0) + part.total
        for key, count in part.keys.items():
            moved = count.copy()
            moved.timeline[:0] = before
            known = self.keys.get(key)
            if known is None:
                known = self.keys[key] = LiveKey(moved)
            else:
                known.count.add(moved)
            known.recent += count.requests
            host.keys[key] = host.keys.get(key, 0) + count.requests
            second.keys[key] = second.keys.get(key, 0) + count.requests
        self._prune(host)

    def _prune(self, host: LiveHost) -> None:
        if len(host.keys) > 2 * HOST_KEYS:
            host.keys = dict(nlargest(HOST_KEYS, host.keys.items(), key=lambda item: item[1]))
        if len(self.keys) > 2 * FLEET_KEYS:
            self.keys = dict(nlargest(FLEET_KEYS, self.keys.items(), key=lambda item: item[1].count.requests))
