"""What is kept of a run: enough to report it again, to follow a key over runs, and to tell a change from noise.

A run can have a million keys; those with the most requests are kept, and what is left out goes into the bounds of all
others, which therefore still hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleettrace.summary.counts import KeyCount
from fleettrace.summary.fleet import FleetKey, FleetSummary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult, RunInfo, RunResult, Warn

__all__ = ["KEPT_KEYS", "StoredKey", "StoredRun", "StoredTemplate", "keep", "result_of"]

KEPT_KEYS = 1000
"""Keys kept of a run, those with the most requests."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key of a run."""

    key: Key
    requests: int
    """The fewest requests that it can have had on the hosts traced."""
    requests_max: int
    """The most."""
    hosts: int
    """Hosts that it was listed on."""
    top_host: str
    """Where it was hottest, with `top_requests`; empty where nothing is known of that."""
    top_requests: int
    ops: dict[str, int] | None = None
    misses: int | None = None
    value_bytes: int | None = None
    timeline: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One family of keys, as the report names it. Families do not overlap: a key belongs to one at most."""

    template: str
    requests: int
    """Requests of its members that were listed."""
    keys: int
    hottest: int | None
    timeline: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What is kept of a run."""

    info: RunInfo
    hosts: tuple[HostResult, ...]
    total: int
    """Requests of all hosts traced, exactly."""
    absent: int
    """The most requests that a key can have had which is not among `keys`."""
    hidden: int
    """The most requests that a key can have had which no host listed at all."""
    listed: int
    """Requests of all keys that hosts listed, kept here or not."""
    distinct: int
    """Keys that hosts listed."""
    timeline: tuple[int, ...]
    keys: tuple[StoredKey, ...]
    """Most requests first, ties in the order of their bytes."""
    templates: tuple[StoredTemplate, ...] = ()
    warnings: tuple[Warn, ...] = ()
    redaction: str = ""
    """How names were replaced, and by which secret: names are the same in two runs only where this is. Empty: not."""
    playbook: str = ""
    """The playbook that the run was part of; empty for none."""

    @property
    def rate(self) -> float | None:
        """Requests per second of all hosts traced, each over its own window."""
        rates = [rate for host in self.hosts if (rate := host.rate) is not None]
        return sum(rates) if rates else None


def keep(
    run: RunResult,
    templates: Sequence[StoredTemplate] = (),
    *,
    redaction: str = "",
    playbook: str = "",
    keys: int = KEPT_KEYS,
) -> StoredRun:
    """What is kept of `run`, whose families were found elsewhere."""
    fleet = run.fleet
    listed = [(key, known, known.count) for key, known in fleet.keys.items() if known.count is not None]
    listed.sort(key=lambda item: (-item[2].requests, item[0]))
    left_out = (count.requests + fleet.absent - count.covered for _, _, count in listed[keys:])
    return StoredRun(
        info=run.info,
        hosts=tuple(run.hosts),
        total=fleet.total,
        absent=max(fleet.absent, max(left_out, default=0)),
        hidden=fleet.absent,
        listed=sum(count.requests for _, _, count in listed),
        distinct=len(fleet.keys),
        timeline=tuple(fleet.timeline),
        keys=tuple(_kept(key, known, count, fleet.absent) for key, known, count in listed[:keys]),
        templates=tuple(templates),
        warnings=tuple(run.warnings),
        redaction=redaction,
        playbook=playbook,
    )


def _kept(key: Key, known: FleetKey, count: KeyCount, absent: int) -> StoredKey:
    return StoredKey(
        key=key,
        requests=count.requests,
        requests_max=count.requests + absent - count.covered,
        hosts=known.host_bits.bit_count(),
        top_host=known.top_host,
        top_requests=known.top_requests,
        ops=None if count.ops is None else dict(count.ops),
        misses=count.misses,
        value_bytes=count.value_bytes,
        timeline=tuple(count.timeline),
    )


def result_of(kept: StoredRun) -> RunResult:
    """The run as reports take it: the same bounds of the keys that were kept, all others unlisted.

    On which hosts a key was is no longer known, only on how many: not to be merged with other runs.
    """
    fleet = FleetSummary()
    fleet.total, fleet.absent, fleet.timeline = kept.total, kept.absent, list(kept.timeline)
    for each in kept.keys:
        known = fleet.keys[each.key] = FleetKey()
        known.host_bits = (1 << each.hosts) - 1
        known.top_host, known.top_requests = each.top_host, each.top_requests
        known.count = KeyCount(
            requests=each.requests,
            covered=each.requests + kept.absent - each.requests_max,
            ops=None if each.ops is None else dict(each.ops),
            misses=each.misses,
            value_bytes=each.value_bytes,
            timeline=list(each.timeline),
        )
    return RunResult(kept.info, list(kept.hosts), fleet, list(kept.warnings))
