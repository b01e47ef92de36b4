"""Compare two runs, and separate changes from noise. Pure.

A count has risen or fallen if all of these hold, on the hosts that were traced completely in both runs:

- it did by the least favorable bounds: its upper bound before and its lower bound after, or the reverse;
- it did as a share of the traffic (against the rest, so that a key with half of all requests can still double) and as a
  rate: when one key surges, the shares of others fall although they get as many requests as before, and when the whole
  fleet is busy, every rate rises;
- it changed by at least a quarter (`min_change`);
- the change is so clear that counting noise and the observed burstiness would cause any such finding in an unchanged
  fleet in only one of 2,000 comparisons (Holm's correction over all tests).

The total rate of the fleet is a subject of its own: when it changes, the rates of all keys do and their shares do not.
It must change by a factor of two, because neighboring hours of a day differ by less. Chance plays no part in the
coverage, nor in which hosts were selected.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleettrace.store.diff.baseline import Baseline
from fleettrace.store.diff.chance import holm
from fleettrace.store.diff.combined import level
from fleettrace.store.diff.fleet import coverage_changes, selection_changes
from fleettrace.store.diff.hosts import Part, complete_hosts
from fleettrace.store.diff.model import Change, Diff, OlderBaseline
from fleettrace.store.diff.pair import FALSE_FINDINGS, Pair
from fleettrace.store.diff.selection import Selected, select
from fleettrace.store.history.model import StoredRun

__all__ = ["FALSE_FINDINGS", "FLEET_CHANGE", "MIN_CHANGE", "compare"]

MIN_CHANGE = 0.25
"""The smallest relative change that counts."""

FLEET_CHANGE = 1.0
"""The smallest relative change of the total rate that counts: a doubling, or a fall to a half."""


def compare(
    before: StoredRun | Baseline,
    after: StoredRun,
    *,
    min_change: float = MIN_CHANGE,
    fleet_change: float = FLEET_CHANGE,
) -> Diff:
    """Return the changes from `before` to `after` by at least `min_change`, relative to `before`; of the total rate,
    by at least `fleet_change`.

    Runs without a common host (two pools, say) are compared in total, each with all its hosts. All requests together
    are a subject of their own: no key's share changes when the whole traffic stops.
    """
    baseline = before if isinstance(before, Baseline) else Baseline.of(before)
    newest = baseline.newest
    selected = select(baseline, after)
    common = {host.host for host in newest.hosts} & {host.host for host in after.hosts} or selected.hosts
    # A user may compare two runs in any order.
    dated = before.dated_after(after) if isinstance(before, Baseline) else None
    notes = [] if dated is None else [dated]
    sure: list[Change] = []
    if common:
        pair = Pair(selected.before, selected.after, 1 + min_change, selected.elsewhere)
        candidates = [*pair.hosts(), *pair.fleet(1 + fleet_change)]
        sure += coverage_changes(pair.a.hosts.values(), pair.b.hosts.values())
        sure += selection_changes(newest, after) if newest.likeness == after.likeness else ()
    else:
        notes.append("no host is in both runs: their total traffic is compared")
        pair = Pair(Part(newest, complete_hosts(newest)), Part(after, complete_hosts(after)), 1 + min_change)
        candidates = [*pair.fleet(1 + fleet_change)]
    if baseline.names_differ(after):
        notes.append(
            "the runs were redacted in different ways or with different secrets: keys and families are not compared"
        )
    elif pair.a.total or pair.b.total:
        candidates += [*pair.keys(), *pair.templates()]
        candidates += pair.moves() if common else ()
    chances = holm([each.chance for each in candidates], len(candidates))
    judged = zip(candidates, chances, strict=True)
    changes = sure + [each.change(chance) for each, chance in judged if chance <= FALSE_FINDINGS]
    return Diff(
        before=newest.info,
        after=after.info,
        hosts=selected.hosts,
        excluded=selected.excluded if common else (),
        rate_before=pair.a.rate,
        rate_after=pair.b.rate,
        tested=len(candidates),
        changes=tuple(sorted(changes, key=lambda one: (-one.size, one.subject, str(one.name), one.kind))),
        notes=tuple(notes),
        older=tuple(_older(baseline, selected)),
        visibility=pair.visibility(len(candidates)),
    )


def _older(baseline: Baseline, selected: Selected) -> Iterator[OlderBaseline]:
    """Yield the earlier runs than the newest one that are the baseline of compared hosts."""
    for run, names in baseline.parts:
        hosts = tuple(name for name in names if name in selected.hosts)
        if run is not baseline.newest and hosts:
            yield OlderBaseline(run.info.id, hosts, level(run, baseline.newest))
