"""Add up the slices of a host's trace to one summary for each process, with bounds."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from operator import itemgetter

from fleettrace.node.ascii_protocol import requests_of_line
from fleettrace.node.output import Entry, RawSlice
from fleettrace.node.plausible import LATE_S, MAX_RATE, ImplausibleError
from fleettrace.probes.model import ProbeKind, ProbePlan, TraceSettings
from fleettrace.summary.counts import OPS, Summary
from fleettrace.summary.key import KEY_MAX_LENGTH, Key
from fleettrace.summary.slices import MapLimits, SliceCounts, SliceSpread, add_slice, spread_over

__all__ = ["MAX_BYTES", "Slicer"]

_ORDER_NS = 1_000_000_000
"""How much a slice may end before the one that was printed earlier, because two timers run on two CPUs."""
_LATE_COUNTS = 1000
"""The most requests that a slice may list beyond its total, because of probes that were preempted for 100 ms and more
between the two counts (count.bt). Each thread of memcached has one such request at a time."""
_RATE_SLACK_S = 0.1
_MOST_SCRIPTED = 1 << 48
"""The most requests in a slice of a program of the user's own, which may count anything: the sum of ten thousand hosts
stays below 2^63."""
MAX_BYTES = 1 << 50
"""The most bytes written of one key in a window. A client can make memcached count 2 GiB for a refused set, so a larger
value is unknown."""

_PID, _REQUESTS, _LONG = (itemgetter(Entry._fields.index(name)) for name in ("pid", "requests", "long"))
_PID_AND_REQUESTS = itemgetter(Entry._fields.index("pid"), Entry._fields.index("requests"))


class Slicer:
    """Adds up slices as they are printed."""

    def __init__(self, plans: Mapping[int, ProbePlan], settings: TraceSettings, bucket_s: float) -> None:
        self._plans = plans
        self._bucket_ns = round(bucket_s * 1e9)
        self._start_ns: int | None = None
        self._end_ns: int | None = None
        self._length_ns = round(settings.duration_s * 1e9)
        self._buckets = -(-self._length_ns // self._bucket_ns)
        self._limits = MapLimits(
            settings.entries, settings.printed, max(len(_tags(plan) or (None,)) for plan in plans.values())
        )
        self._keys = max(settings.printed, settings.keys // len(plans))
        self._printed_once = min(settings.printed_once, settings.entries)
        self._listed = dict.fromkeys(plans, 0)
        self._invalid = dict.fromkeys(plans, 0)
        self._unknown = dict.fromkeys(plans, 0)
        """Requests of unknown kind, where only some kinds are requested."""
        self.summaries: dict[int, Summary] = {pid: Summary() for pid in plans}
        self.slices = 0
        self.garbled = False
        """An incomplete slice lists more than its total, and was excluded."""
        self.overfull = False
        """The map of a program of the user's own was full: the number of requests that it left out is unknown."""

    def start(self, ns: int) -> None:
        """Record the beginning of the counting."""
        if self._start_ns is None:
            self._start_ns = self._end_ns = ns

    @property
    def started(self) -> bool:
        """Return whether counting has begun."""
        return self._start_ns is not None

    @property
    def complete(self) -> bool:
        """Return whether the slices reach the end of the window; the last timer tick may be some ms early."""
        if self._start_ns is None or self._end_ns is None:
            return False
        return self._end_ns - self._start_ns >= self._length_ns * 0.98

    @property
    def implausible(self) -> set[int]:
        """Return the processes with more than a tenth of their requests for impossible keys (see `_plausible`)."""
        return {pid for pid, invalid in self._invalid.items() if invalid * 10 > self._listed[pid]}

    @property
    def undecided(self) -> set[int]:
        """Return the processes with more than a tenth of their requests of unknown kind, where kinds are requested."""
        return {pid for pid, unknown in self._unknown.items() if unknown * 10 > self.summaries[pid].total + unknown > 0}

    def window_s(self, now_ns: int | None) -> float:
        """Return the counted seconds; `now_ns` is the node's time at the end of a trace that was stopped early."""
        if self._start_ns is None or self._end_ns is None:
            return 0.0
        # A program that ended itself needed some time to print after the window's end.
        end = self._end_ns if self.complete else max(self._end_ns, self._counted_until(now_ns))
        return (end - self._start_ns) / 1e9

    def _counted_until(self, now_ns: int | None) -> int:
        """Return when a trace that was interrupted at `now_ns` ceased to count.

        That is at the end of the window at the latest, also if bpftrace itself was suspended for longer.
        """
        return min(now_ns or 0, (self._start_ns or 0) + self._length_ns)

    def add(self, raw: RawSlice, now_ns: int | None, *, apart: bool = True) -> dict[int, Summary]:
        """Add one slice, and return its summaries by pid; with `apart` False, return nothing."""
        if self._start_ns is None:
            return {}
        start = self._end_ns or self._start_ns
        end = raw.end_ns if raw.end_ns is not None else max(self._counted_until(now_ns), start)
        self._check_time(start, end)
        if not self._consistent(raw, max(0, end - start)):
            self.garbled = True
            return {}
        self._end_ns = max(start, end)
        # A program of the user's own prints its map once, so it has no timeline.
        once = any(plan.script is not None for plan in self._plans.values())
        began = self._start_ns
        spread = SliceSpread(0) if once else spread_over(start - began, end - began, self._bucket_ns, self._buckets)
        parts = self._parts(raw, self.slices, start, end)
        self.slices += 1
        summaries = {}
        for pid, part in parts.items():
            into = Summary() if apart else self.summaries[pid]
            add_slice(into, part, self._limits, spread, _op_of(self._plans[pid]))
            # Requests of unknown kind, where only some kinds are requested, may belong to any key.
            into.absent += part.unknown
            self._unknown[pid] += part.unknown
            if apart:
                summaries[pid] = into
                self.summaries[pid].add(into)
            self.summaries[pid].bound(self._keys)
        return summaries

    def _check_time(self, start: int, end: int) -> None:
        """Raise `ImplausibleError` for a slice that ends before the last one did, or long after the window."""
        if end < start - _ORDER_NS:
            raise ImplausibleError("a slice that ends before it begins")
        if end > (self._start_ns or 0) + self._length_ns + LATE_S * 1e9:
            raise ImplausibleError("a slice that ends after the trace")

    def _consistent(self, raw: RawSlice, length_ns: int) -> bool:
        """Return whether a slice lists no more than its totals, which an incomplete slice may do.

        Raises `ImplausibleError` for a complete slice that does, an impossible number of requests or process id.
        """
        scripted = any(plan.script is not None for plan in self._plans.values())
        listed = dict.fromkeys(raw.totals, 0)
        for pid, requests in map(_PID_AND_REQUESTS, raw.entries):
            listed[pid] = listed.get(pid, 0) + requests
        if not scripted and not self._plans.keys() >= listed.keys():
            raise ImplausibleError(f"counts of process {min(listed.keys() - self._plans.keys())}, which is not traced")
        for pid, plan in self._plans.items():
            if plan.asked is not None and pid in listed:
                # Each request for an asked key is in two entries.
                listed[pid] //= 2
        requests = max(sum(raw.totals.values()), sum(listed.values()))
        if requests > (_MOST_SCRIPTED if scripted else MAX_RATE * (length_ns / 1e9 + _RATE_SLACK_S)):
            raise ImplausibleError(f"{requests:.3g} requests in {length_ns / 1e9:.3g} s")
        excess = [pid for pid, count in listed.items() if count > raw.totals.get(pid, 0) + _LATE_COUNTS]
        if scripted or not excess:
            return True
        if raw.complete:
            raise ImplausibleError(
                f"{listed[excess[0]]} requests by key under a total of {raw.totals.get(excess[0], 0)} (pid {excess[0]})"
            )
        return False

    def finish(self, misses: Sequence[Entry], sizes: Sequence[Entry]) -> None:
        """Add the misses and the sizes, which the program prints once for the complete window.

        A key that is not in such a map has none. If the map was full or cut off, its value is unknown.
        """
        for pid, plan in self._plans.items():
            counts = self.summaries[pid].keys
            if plan.counts_misses:
                found, rest = self._by_key(pid, misses)
                if sum(found.values()) > self.summaries[pid].total + _LATE_COUNTS:
                    raise ImplausibleError(f"more misses than requests (pid {pid})")
                for key, count in counts.items():
                    # It is unknown whether a request that may have been a store missed.
                    count.misses = found.get(key, rest) if count.ops is not None else None
            if plan.sizes is not None or (plan.script is not None and plan.script.bytes is not None):
                found, rest = self._by_key(pid, sizes)
                for key, count in counts.items():
                    count.value_bytes = found.get(key, rest)
                    if count.value_bytes is not None and count.value_bytes > MAX_BYTES:
                        count.value_bytes = None

    def _by_key(self, pid: int, entries: Sequence[Entry]) -> tuple[dict[Key, int], int | None]:
        """Return the values by key, and the value of keys that are not listed."""
        # A full or cut-off map has this many entries.
        full = any(sum(entry.long is long for entry in entries) >= self._printed_once for long in (False, True))
        found: dict[Key, int] = {}
        for entry in entries:
            if entry.pid == pid:
                key = Key(entry.data, max(entry.length, len(entry.data)))
                found[key] = found.get(key, 0) + entry.requests
        return found, None if full else 0

    def _parts(self, raw: RawSlice, index: int, start: int, end: int) -> dict[int, SliceCounts]:
        parts = {
            pid: SliceCounts(index, start, end, raw.totals.get(pid, 0), everything=not raw.complete and not raw.pruned)
            for pid in self._plans
        }
        shared: dict[int, list[Entry]] = {pid: [] for pid in parts}
        if len(set(map(_PID, raw.entries))) == 1 and raw.entries[0].pid in shared:
            shared[raw.entries[0].pid] = raw.entries
        else:
            for entry in raw.entries:
                if entry.pid in shared:
                    shared[entry.pid].append(entry)
        for pid, entries in shared.items():
            self._count(pid, parts[pid], entries)
        if any(map(_LONG, raw.entries)):
            by_map = [[entry.requests for entry in raw.entries if entry.long is long] for long in (False, True)]
        else:
            by_map = [list(map(_REQUESTS, raw.entries))]
        for pid, part in parts.items():
            if self._plans[pid].script is not None:
                # Its own map is the only source of the total: it has all requests unless it was full.
                part.total = sum(part.counts.values())
                self.overfull |= len(raw.entries) >= self._printed_once
        for part in parts.values():
            part.map_entries = max(map(len, by_map))
            part.map_total = sum(raw.totals.values())
            part.map_listed = sum(map(sum, by_map))
            part.smallest = max(
                (min(sizes) for sizes in by_map if sizes and len(sizes) >= self._limits.printed), default=0
            )
        return parts

    def _count(self, pid: int, part: SliceCounts, entries: Sequence[Entry]) -> None:
        """Count one process's entries into its part of the slice."""
        plan = self._plans[pid]
        self._listed[pid] += sum(map(_REQUESTS, entries))
        if plan.probe_kind is ProbeKind.COMMAND:
            for entry in entries:
                _count_line(part, entry, plan)
            return
        known, counts, make = plan.tagging.ops, part.counts, tuple.__new__
        unknown = () if plan.ops is None or known is None else _unknown(known, {entry.tag for entry in entries})
        for _, tag, length, data, requests, _ in entries:
            read = len(data)
            if not _plausible(plan, tag, length, data):
                self._invalid[pid] += requests
            if tag in unknown:
                part.total -= requests
                part.unknown += requests
                continue
            slot = (make(Key, (data, max(length, read))), tag)
            counts[slot] = counts.get(slot, 0) + requests


def _plausible(plan: ProbePlan, tag: int, length: int, data: bytes) -> bool:
    """Return whether memcached can have received such a key: one of 1 to 250 bytes, read to its end.

    Garbage with a NUL looks like a key of the binary protocol. It counts as a key only if the probed function is
    certainly the right one: a symbol names it, or the request came from one of its call sites, whatever kind of request
    these serve. A client chooses keys, not return addresses.
    """
    if plan.asked is not None:
        return True
    if not 0 < length <= KEY_MAX_LENGTH:
        return False
    if len(data) == length and b"\0" not in data:
        return True
    return plan.certain or tag in _call_sites(plan)


def _call_sites(plan: ProbePlan) -> Container[int]:
    """Return the tags of requests from known call sites: all but the first one (tags.py)."""
    return range(1, len(plan.tagging.ops or ()))


def _unknown(known: Sequence[str | None], tags: Iterable[int]) -> set[int]:
    """Return the tags that stand for no kind of request."""
    return {tag for tag in tags if tag >= len(known) or known[tag] is None}


def _count_line(part: SliceCounts, entry: Entry, plan: ProbePlan) -> None:
    # One line may be several requests or none: the total, counted in lines, is corrected.
    cut = len(entry.data) < entry.length
    requests = [(key, op) for key, op in requests_of_line(entry.data, cut) if plan.ops is None or op in plan.ops]
    part.total += entry.requests * (len(requests) - 1)
    for key, op in requests:
        slot = (key, _LINE_TAGS[op])
        part.counts[slot] = part.counts.get(slot, 0) + entry.requests


_LINE_TAGS = {op: index for index, op in enumerate(OPS)}


def _tags(plan: ProbePlan) -> tuple[str | None, ...] | None:
    """Return the operation of each tag. For command lines the controller finds the operation."""
    return OPS if plan.probe_kind is ProbeKind.COMMAND else plan.tagging.ops


def _op_of(plan: ProbePlan) -> Callable[[int], str | None] | None:
    tags = _tags(plan)
    return None if tags is None else lambda tag: tags[tag] if 0 <= tag < len(tags) else None
