"""The baseline of a run: for each host the newest comparable run that traced it completely. Pure.

With a single earlier run, one host that it missed would hide what changed on that host for good: missed in run N and
back in N+1, it could be compared with neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fleettrace.store.diff.combined import Combined, Counts, is_representative
from fleettrace.store.diff.hosts import Part, different_means, incomplete
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.run import HostResult

__all__ = ["Baseline", "choose"]


_MOST_OLDER = 50
"""Earlier runs that are read for the hosts that the newest one did not trace: reading one takes some milliseconds. A
host that was never traced completely in so many has no baseline."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Earlier runs, and the hosts that each stands for."""

    newest: StoredRun
    """The newest comparable run, which selected the hosts of then."""
    parts: tuple[tuple[StoredRun, tuple[str, ...]], ...]
    """The newest run first. A host is in one part at most."""

    @classmethod
    def of(cls, run: StoredRun) -> Baseline:
        """Return one run as the baseline of all its hosts."""
        return cls(run, ((run, tuple(host.host for host in run.hosts)),))

    def dated_after(self, run: StoredRun) -> str | None:
        """Return a note if the newest run is dated later than `run`, which ended after it; else None."""
        if self.newest.info.started <= run.info.started:
            return None
        return (
            f"{self.newest.info.id} is dated later than {run.info.id}, though it was stored before: the controller's "
            "clock has stepped back, or was ahead"
        )

    def names_differ(self, run: StoredRun) -> bool:
        """Return whether keys of any part were redacted in another way, or with another secret, than those of `run`."""
        return any(part.redaction != run.redaction for part, _ in self.parts or ((self.newest, ()),))

    def counts(self) -> Counts:
        """Return the counts on all hosts."""
        return self.counts_on([name for _, names in self.parts for name in names]) or Part(self.newest, ())

    def counts_on(self, names: Iterable[str]) -> Counts | None:
        """Return the counts on these hosts, of each in its own run; None for no known host."""
        taken = set(names)
        parts = [Part(run, hosts) for run, known in self.parts if (hosts := taken & set(known))]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 and parts[0].run is self.newest else Combined(parts, self.newest)

    def sources(self) -> dict[str, tuple[StoredRun, HostResult]]:
        """Return for each host its run, and its result there."""
        found = {}
        for run, names in self.parts:
            results = {host.host: host for host in run.hosts}
            found.update({name: (run, results[name]) for name in names})
        return found


def choose(
    run: StoredRun,
    comparable: Sequence[str],
    load: Callable[[str], StoredRun],
    traced: Callable[[str], Sequence[str]],
) -> Baseline | None:
    """Return the baseline of `run`; None without a comparable run.

    `comparable` are the ids of the comparable earlier runs, the newest first; `load` reads one, and `traced` returns
    the ids of the runs that traced a host. In most cases the newest run is the only one that is read.
    """
    if not comparable:
        return None
    pending = {host.host: host for host in run.hosts}
    newest = load(comparable[0])
    parts = [_part(newest, pending)]
    useful = {name for host in pending for name in traced(host)}
    older = [name for name in comparable[1:] if name in useful]
    for name in older[:_MOST_OLDER]:
        if not pending:
            break
        earlier = load(name)
        # Other names on one host would make the keys of all hosts incomparable.
        if newest.redaction == run.redaction != earlier.redaction:
            continue
        # Otherwise the level of the traffic then, compared with that of the newest run, is not known.
        if not parts[0][1] or is_representative(earlier, newest):
            parts.append(_part(earlier, pending))
    return Baseline(newest, tuple(part for part in parts if part[1]))


def _part(earlier: StoredRun, pending: dict[str, HostResult]) -> tuple[StoredRun, tuple[str, ...]]:
    """Return the pending hosts that the run traced completely, in the same way, and remove them from `pending`."""
    taken = []
    for host in earlier.hosts:
        now = pending.get(host.host)
        if now is None or incomplete(host, "") is not None:
            continue
        if incomplete(now, "") is None and different_means(host, now) is not None:
            continue
        taken.append(host.host)
        del pending[host.host]
    return earlier, tuple(taken)
