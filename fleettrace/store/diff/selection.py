"""Divide the hosts of a run and its baseline into those that are compared and those that are not. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fleettrace.store.diff.baseline import Baseline
from fleettrace.store.diff.combined import Counts
from fleettrace.store.diff.hosts import Part, different_means, incomplete
from fleettrace.store.diff.model import ComparedKind, ExcludedHost
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.key import Key

__all__ = ["Elsewhere", "Selected", "select"]


Interval = tuple[float | None, float | None]
"""The least and the greatest ratio; None: no limit."""

Rates = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the hosts that are not compared can add to a subject of the whole fleet."""

    before: Counts | None = None
    """Their newest complete counts, of hosts that are missing or no longer selected now."""
    after: Counts | None = None
    """The counts of hosts that have no baseline."""
    open_before: bool = False
    """Whether there is a host of which nothing is known before."""
    open_after: bool = False
    """Whether there is a host of which nothing is known after."""

    def widened(self, subject: ComparedKind, name: Key | str, rates: Rates, interval: Interval) -> Interval:
        """Return the interval of a ratio in the whole fleet, from that on the compared hosts and the highest `rates`
        there before and after. A host's own ratio does not depend on others."""
        if subject is ComparedKind.HOST:
            return interval
        (low, high), (before, after) = interval, rates
        more_before, more_after = (_most(counts, subject, name) for counts in (self.before, self.after))
        if self.open_before:
            low = 0.0
        elif more_before:
            # A subject that no compared host had before can have had all its requests elsewhere.
            low = low * before / (before + more_before) if low is not None else after / more_before
        if self.open_after:
            high = None
        elif more_after and high is not None:
            high = high * (after + more_after) / after if after else more_after / before if before else None
        return low, high


@dataclass(frozen=True, slots=True)
class Selected:
    """The hosts of a comparison."""

    hosts: tuple[str, ...]
    before: Counts
    after: Counts
    elsewhere: Elsewhere
    excluded: tuple[ExcludedHost, ...]


def _most(counts: Counts | None, subject: ComparedKind, name: Key | str) -> float:
    """Return the highest rate that the subject can have on these hosts."""
    if counts is None or not counts.seconds:
        return 0.0
    if isinstance(name, Key):
        return counts.key(name).most / counts.seconds
    return (counts.template(name).most if subject is ComparedKind.TEMPLATE else counts.total) / counts.seconds


def select(baseline: Baseline, run: StoredRun) -> Selected:
    """Return the hosts traced completely, in the same way, in both the run and their baseline; and the others."""
    sources = baseline.sources()
    newest = {host.host: host for host in baseline.newest.hosts}
    later = {host.host: host for host in run.hosts}
    common, excluded, missing, unmatched, open_before = [], [], [], [], False
    for name in dict.fromkeys([*newest, *later]):
        host, (_, was) = later.get(name), sources.get(name, (None, None))
        if host is None:
            excluded.append(ExcludedHost(name, "not selected after"))
            continue
        known = was is not None and incomplete(was, "") is None
        reason = incomplete(host, "after")
        if reason is not None:
            # The earlier host's reason is the one that users read first, as it came first.
            earlier = None if known or name not in newest else incomplete(newest[name], "before")
            excluded.append(ExcludedHost(name, earlier or reason))
            missing.append(name)
            open_before |= not known
            continue
        if was is None or not known:
            why = f"{newest[name].state} before" if name in newest else "not selected before"
            excluded.append(ExcludedHost(name, why))
            unmatched.append(name)
            open_before |= name in newest
            continue
        means = different_means(was, host)
        if means is not None:
            excluded.append(ExcludedHost(name, means))
            open_before = True
            unmatched.append(name)
        else:
            common.append(name)
    left = [name for name in newest if name not in later]
    elsewhere = Elsewhere(
        baseline.counts_on([*missing, *left]),
        Part(run, unmatched) if unmatched else None,
        open_before,
        bool(missing),
    )
    return Selected(
        tuple(common),
        baseline.counts_on(common) or Part(baseline.newest, ()),
        Part(run, common),
        elsewhere,
        tuple(excluded),
    )
