"""A run as the history stores it: enough to report it again, to follow a key over runs, and to compare runs.

A run can have a million keys. The history stores those with the most requests; the others go into the bounds, which
therefore still hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleettrace.store.history.alike import Likeness
from fleettrace.summary.counts import KeyCount
from fleettrace.summary.fleet import FleetKey, FleetSummary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult, RunInfo, RunResult, Warn

__all__ = ["STORED_KEYS", "StoredKey", "StoredRun", "StoredTemplate", "result_of", "stored_run"]

STORED_KEYS = 1000
"""The number of keys stored for a run, those with the most requests."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key of a run."""

    key: Key
    requests: int
    """Lower bound of its requests on the traced hosts."""
    requests_max: int
    """Upper bound."""
    hosts: int
    """Hosts that listed it."""
    top_host: str
    """Its hottest host, with `top_requests`; empty if unknown."""
    top_requests: int
    ops: dict[str, int] | None = None
    misses: int | None = None
    value_bytes: int | None = None
    timeline: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One family of keys, named as in the report. Families do not overlap: a key belongs to at most one."""

    template: str
    requests: int
    """Requests of its listed members."""
    keys: int
    hottest: int | None
    timeline: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run in the history."""

    info: RunInfo
    hosts: tuple[HostResult, ...]
    total: int
    """Requests of all traced hosts, exact."""
    absent: int
    """The most requests that any key not in `keys` can have had."""
    unlisted_max: int
    """The most requests that any key that no host listed can have had."""
    listed: int
    """Requests of all keys that hosts listed, in `keys` or not."""
    distinct: int
    """Keys that hosts listed."""
    timeline: tuple[int, ...]
    keys: tuple[StoredKey, ...]
    """Most requests first, ties in the order of their bytes."""
    templates: tuple[StoredTemplate, ...] = ()
    warnings: tuple[Warn, ...] = ()
    redaction: str = ""
    """The kind of redaction and a mark of its secret: two runs have the same names only if this is equal. Empty:
    none."""
    playbook: str = ""
    """The play of the run; empty for none."""
    playbook_file: str = ""
    """The requested playbook, as an absolute path; empty for none."""
    inventory: str = ""
    """The sources of the inventory, as absolute paths where they are files; empty if not known."""

    @property
    def likeness(self) -> Likeness:
        """Return what decides which runs this one can be compared with."""
        info = self.info
        return Likeness(self.playbook, self.playbook_file, self.inventory, info.pattern, info.options)

    @property
    def rate(self) -> float | None:
        """Requests per second of all traced hosts, each over its own window."""
        rates = [rate for host in self.hosts if (rate := host.rate) is not None]
        return sum(rates) if rates else None


def stored_run(
    run: RunResult,
    templates: Sequence[StoredTemplate] = (),
    *,
    redaction: str = "",
    playbook: str = "",
    playbook_file: str = "",
    inventory: str = "",
    keys: int = STORED_KEYS,
) -> StoredRun:
    """Return `run` as the history stores it, with the families that the report found."""
    fleet = run.fleet
    listed = [(key, known, known.count) for key, known in fleet.keys.items() if known.count is not None]
    listed.sort(key=lambda item: (-item[2].requests, item[0]))
    left_out = (count.upper(fleet.absent) for _, _, count in listed[keys:])
    return StoredRun(
        info=run.info,
        hosts=tuple(run.hosts),
        total=fleet.total,
        absent=max(fleet.absent, max(left_out, default=0)),
        unlisted_max=fleet.absent,
        listed=sum(count.requests for _, _, count in listed),
        distinct=len(fleet.keys),
        timeline=tuple(fleet.timeline),
        keys=tuple(_stored_key(key, known, count, fleet.absent) for key, known, count in listed[:keys]),
        templates=tuple(templates),
        warnings=tuple(run.warnings),
        redaction=redaction,
        playbook=playbook,
        playbook_file=playbook_file,
        inventory=inventory,
    )


def _stored_key(key: Key, known: FleetKey, count: KeyCount, absent: int) -> StoredKey:
    return StoredKey(
        key=key,
        requests=count.requests,
        requests_max=count.upper(absent),
        hosts=known.host_bits.bit_count(),
        top_host=known.top_host,
        top_requests=known.top_requests,
        ops=None if count.ops is None else dict(count.ops),
        misses=count.misses,
        value_bytes=count.value_bytes,
        timeline=tuple(count.timeline),
    )


def result_of(stored: StoredRun) -> RunResult:
    """Return the run as the input of a report: the stored keys with their bounds, all others unlisted.

    The hosts of a key are not stored, only their number, so the result must not be merged with other runs.
    """
    fleet = FleetSummary()
    fleet.total, fleet.absent, fleet.timeline = stored.total, stored.absent, list(stored.timeline)
    for each in stored.keys:
        known = fleet.keys[each.key] = FleetKey()
        known.host_bits = (1 << each.hosts) - 1
        known.top_host, known.top_requests = each.top_host, each.top_requests
        known.count = KeyCount(
            requests=each.requests,
            covered=KeyCount.covered_for(each.requests, each.requests_max, stored.absent),
            ops=None if each.ops is None else dict(each.ops),
            misses=each.misses,
            value_bytes=each.value_bytes,
            timeline=list(each.timeline),
        )
    return RunResult(stored.info, list(stored.hosts), fleet, list(stored.warnings))
