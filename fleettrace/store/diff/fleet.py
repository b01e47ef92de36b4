"""Compare the fleet itself: the coverage of the trace, and which hosts were selected. Pure.

`Pair.fleet` compares the total rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Side
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.run import HostResult

__all__ = ["COVERAGE_POINTS", "coverage_changes", "selection_changes"]

COVERAGE_POINTS = 0.05
"""The smallest change of the coverage that counts, as a part of what memcached counted."""


def coverage_changes(before: Iterable[HostResult], after: Iterable[HostResult]) -> Iterator[Change]:
    """Yield the change of the coverage on the compared hosts, if it is large enough; chance plays no part in it."""
    one, other = _coverage(before), _coverage(after)
    if one is None:
        return
    if other is None:
        yield _change("coverage", ComparedKind.COVERAGE, ChangeKind.GONE, one, Side(0, 0, None, None))
    elif one.share is not None and other.share is not None and abs(other.share - one.share) >= COVERAGE_POINTS:
        kind = ChangeKind.RISEN if other.share > one.share else ChangeKind.FALLEN
        yield _change("coverage", ComparedKind.COVERAGE, kind, one, other)


def _coverage(hosts: Iterable[HostResult]) -> Side | None:
    """Return the traced requests, and their part of those that memcached counted (None for no requests); None where
    that is not known."""
    known = [instance.coverage for host in hosts for instance in host.instances if instance.coverage is not None]
    counted, traced = sum(one.counted for one in known), sum(one.traced for one in known)
    if not known:
        return None
    return Side(traced, traced, min(1.0, traced / counted) if counted else None, None)


def selection_changes(before: StoredRun, after: StoredRun) -> Iterator[Change]:
    """Yield the hosts that joined or left the selection between two comparable runs, such as by an edited inventory."""
    earlier, later = ({host.host: host for host in run.hosts} for run in (before, after))
    nothing = Side(0, 0, None, None)
    left = [host for name, host in earlier.items() if name not in later]
    joined = [host for name, host in later.items() if name not in earlier]
    names = _renamed(left, joined)
    for host in left:
        change = _change(host.host, ComparedKind.HOST, ChangeKind.GONE, _traffic(host), nothing)
        yield replace(change, selected="no longer selected", renamed=names.get(host.host))
    others = {new: old for old, new in names.items()}
    for host in joined:
        change = _change(host.host, ComparedKind.HOST, ChangeKind.NEW, nothing, _traffic(host))
        yield replace(change, selected="newly selected", renamed=others.get(host.host))


def _renamed(left: Sequence[HostResult], joined: Sequence[HostResult]) -> dict[str, str]:
    """Return the new name of each host that seems to be renamed.

    Only one host on either side may have the mark: containers of one machine share its boot id.
    """
    by_mark = [_by_mark(hosts) for hosts in (left, joined)]
    pairs = [(by_mark[0][mark], by_mark[1][mark]) for mark in by_mark[0] if mark in by_mark[1]]
    names = {old[0]: new[0] for old, new in pairs if len(old) == len(new) == 1}
    return names if len(set(names.values())) == len(names) else {}


def _by_mark(hosts: Sequence[HostResult]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for host in hosts:
        for mark in host.marks:
            found.setdefault(mark, []).append(host.host)
    return found


def _traffic(host: HostResult) -> Side:
    requests = host.requests or 0
    return Side(requests, requests, None, host.rate)


def _change(name: str, subject: ComparedKind, kind: ChangeKind, before: Side, after: Side) -> Change:
    ratio = after.share / before.share if before.share and after.share else None
    return Change(subject, kind, name, before, after, ratio, ratio, ratio, chance=0.0)
