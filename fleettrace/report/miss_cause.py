"""Name why a key is missed, where the requests of the window and memcached's own stats leave one cause. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from fleettrace.summary.counts import KeyCount
from fleettrace.summary.host_stats import HostStats
from fleettrace.summary.items import NEVER, ItemFacts, ItemGap
from fleettrace.summary.run import InstanceResult

__all__ = ["MissCause", "miss_cause"]


class MissCause(StrEnum):
    """Why look-ups of a key missed."""

    NOT_STORED = "not-stored"
    """No client stored it in the window, and memcached did not have it after the window."""
    EXPIRED = "expired"
    """Clients stored it with a time to live, memcached met expired items and evicted nothing."""
    EVICTED = "evicted"
    """It does not expire, clients stored it and did not delete it, and memcached evicted items."""

    @property
    def text(self) -> str:
        """The cause, for people."""
        return _TEXTS[self]


_TEXTS = {
    MissCause.NOT_STORED: "no client stores it",
    MissCause.EXPIRED: "it expires",
    MissCause.EVICTED: "it is evicted",
}


def miss_cause(
    known: KeyCount, most: int | None, item: ItemFacts, instances: Sequence[InstanceResult]
) -> MissCause | None:
    """Return why a key was missed, None where it was not, or where more than one cause is possible.

    `most` is the upper bound of its requests in the whole fleet, None if unknown: one that was not listed may have been
    a store or a delete. `instances` are those of its host, if it is on one host only. A delete, or a memcached with
    unknown stats, leaves several causes.
    """
    if not known.misses or known.ops is None or most is None or most > sum(known.ops.values()):
        return None
    # Meta and binary arithmetic can create an item.
    if not known.ops.get("set") and not known.ops.get("arith"):
        return MissCause.NOT_STORED if item.gap is ItemGap.ABSENT else None
    stats = [instance.stats or HostStats() for instance in instances]
    evictions = _sum([each.evictions for each in stats])
    expired = _sum([each.get_expired for each in stats])
    if known.ops.get("delete") or item.gap is not None or evictions is None or expired is None:
        return None
    if item.ttl_s == NEVER:
        return MissCause.EVICTED if evictions and not expired else None
    return MissCause.EXPIRED if expired and not evictions else None


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
