"""Two runs compared, as far as their numbers can tell a change from noise. Pure.

A count is said to have risen or fallen when all of these hold, on the hosts that were traced wholly in both runs:

- by the bounds that are worst for it: the most it can have had before, the least it can have had after, or the reverse;
- as a share of the traffic (against the rest of it, so that a key with half of all requests can still double) and as a
  rate: when one key surges, the others' shares fall though nobody asks for them less often, and when the whole fleet
  has a busy hour, every rate rises;
- by a quarter at the least (`min_change`), not by anything at all;
- and so clearly that counting noise, and traffic that wanders as it is seen to do, would make any such finding in an
  unchanged fleet in one of 500 comparisons (Holm's correction over all that was looked at).
"""

from __future__ import annotations

from fleettrace.store.diff.chance import holm
from fleettrace.store.diff.hosts import Part, comparable, not_selected, whole_hosts
from fleettrace.store.diff.model import Diff
from fleettrace.store.diff.pair import Pair
from fleettrace.store.history.model import StoredRun

__all__ = ["FALSE_FINDINGS", "MIN_CHANGE", "compare"]

MIN_CHANGE = 0.25
"""A change is one by this part of what was, or more."""

FALSE_FINDINGS = 0.002
"""The chance of any false finding when two runs of an unchanged fleet are compared."""


def compare(before: StoredRun, after: StoredRun, *, min_change: float = MIN_CHANGE) -> Diff:
    """What changed from `before` to `after`, by at least the part `min_change` of what it was.

    Runs that have no host in common are compared as wholes, each of all its hosts: two pools, say.
    """
    alike = {host.host for host in before.hosts} & {host.host for host in after.hosts}
    hosts, apart = comparable(before, after)
    notes = []
    if alike:
        apart += not_selected(before, after)
        pair = Pair(Part(before, hosts), Part(after, hosts), 1 + min_change)
        candidates = [*pair.hosts()]
    else:
        notes.append("no host is in both runs: their traffic is compared as a whole")
        pair = Pair(Part(before, whole_hosts(before)), Part(after, whole_hosts(after)), 1 + min_change)
        candidates = []
    if before.redaction != after.redaction:
        notes.append("names were replaced in different ways, or by different secrets: keys and families are left out")
    elif pair.a.total or pair.b.total:
        candidates += [*pair.keys(), *pair.templates()]
        candidates += pair.moves() if alike else ()
    chances = holm([each.chance for each in candidates], len(candidates))
    judged = zip(candidates, chances, strict=True)
    changes = [each.change(chance) for each, chance in judged if chance <= FALSE_FINDINGS]
    return Diff(
        before=before.info,
        after=after.info,
        hosts=tuple(hosts),
        apart=tuple(apart),
        rate_before=pair.a.rate,
        rate_after=pair.b.rate,
        tested=len(candidates),
        changes=tuple(sorted(changes, key=lambda one: (-one.size, one.subject, str(one.name), one.kind))),
        notes=tuple(notes),
    )
