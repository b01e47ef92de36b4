"""Combine what memcached reported about keys on each host into facts of each key, and estimate the bytes sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fleettrace.summary.counts import KeyCount
from fleettrace.summary.items import ItemFacts, ItemGap
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult

__all__ = ["ByBytes", "Items", "Sort", "bytes_out", "heaviest", "why_unknown"]

_FACTOR = 2
"""A key that sends this many times the bytes of the hottest key is worth a line."""


class Sort(StrEnum):
    """The order of the keys in a report, largest first."""

    REQUESTS = "requests"
    RATE = "rate"
    BYTES = "bytes"
    MISSES = "misses"


class Items:
    """The facts of the keys of a run."""

    def __init__(self, hosts: Iterable[HostResult]) -> None:
        self._known: dict[Key, list[tuple[int, ItemFacts]]] = {}
        for host in hosts:
            requests = dict(host.top) if host.items else {}
            for key, facts in host.items.items():
                self._known.setdefault(key, []).append((requests.get(key, 0), facts))

    @property
    def keys(self) -> Iterable[Key]:
        """The keys that memcached was asked about."""
        return self._known

    def facts(self, key: Key) -> ItemFacts:
        """Return the facts from the host with most requests for the key of those that know it; else the reason of the
        hottest host."""
        answers = self._known.get(key)
        if not answers:
            return ItemFacts(gap=ItemGap.NOT_ASKED)
        return max(answers, key=lambda answer: (answer[1].gap is None, answer[0]))[1]

    def mean_size(self, key: Key) -> float | None:
        """Return the mean bytes of the value, weighted by the requests on each host; None if no host knows it."""
        sizes = [
            (max(requests, 1), facts.size) for requests, facts in self._known.get(key, ()) if facts.size is not None
        ]
        weight = sum(requests for requests, _ in sizes)
        return sum(requests * size for requests, size in sizes) / weight if weight else None

    def bytes_out(self, key: Key, known: KeyCount) -> int | None:
        """Return the estimated bytes of the values sent to clients; None if unknown."""
        return bytes_out(known, self.mean_size(key))


def bytes_out(known: KeyCount, size: float | None = None) -> int | None:
    """Return hits times the size of the value, or where that is unknown the mean size written; None without either.

    Where misses were not counted, every look-up passes for a hit.
    """
    if known.ops is None:
        return None
    hits = max(known.ops.get("get", 0) - (known.misses or 0), 0)
    if not hits:
        return 0
    if size is None:
        stores = known.ops.get("set", 0)
        if known.value_bytes is None or not stores:
            return None
        size = known.value_bytes / stores
    return round(hits * size)


def why_unknown(facts: ItemFacts, sent: int | None, known: KeyCount) -> str | None:
    """Return why the facts of a key, or the bytes sent, are unknown; None if all are known."""
    if facts.gap is not None:
        return facts.gap.text
    if sent is None:
        return "the kinds of its requests are unknown" if known.ops is None else "its size is unknown"
    return None


@dataclass(frozen=True, slots=True)
class ByBytes:
    """The key that sends most bytes, where the order by requests hides it."""

    key: Key
    bytes_out: int
    """Estimated bytes sent in the window."""
    out_rate: float | None
    """The same per second."""
    share: float
    """Of `all_sent` if that is known, else of the bytes sent by all keys of known size."""
    all_sent: float | None = None
    """Bytes per second that memcached itself counted as sent on all hosts (headers included); None if unknown."""


def heaviest(
    items: Items,
    counts: Iterable[tuple[Key, KeyCount]],
    first: Key | None,
    per_s: float,
    all_sent: float | None = None,
) -> ByBytes | None:
    """Return the key that sends most bytes if it is not `first`, the key with most requests, and sends at least twice
    as many as that one; else None.

    `all_sent` is that of `ByBytes`. `per_s` makes rates per second from counts of the window; 0 if that is unknown.
    """
    sent = {key: number for key, known in counts if (number := items.bytes_out(key, known))}
    if first is None or not sent:
        return None
    key = min(sent, key=lambda each: (-sent[each], each))
    if key == first or sent[key] < _FACTOR * sent.get(first, 0):
        return None
    out_rate = sent[key] * per_s if per_s else None
    if out_rate is None or not all_sent:
        return ByBytes(key, sent[key], out_rate, sent[key] / sum(sent.values()))
    # A value that shrank after it was asked for, or a window that differs, can make the estimate exceed the count.
    return ByBytes(key, sent[key], out_rate, min(out_rate / all_sent, 1.0), all_sent)
