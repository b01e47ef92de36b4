"""Add up the slices of a host's trace to one summary for each process, with bounds."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from fleettrace.node.ascii_protocol import requests_of_line
from fleettrace.node.output import Entry, RawSlice
from fleettrace.node.plausible import LATE_S, MAX_RATE, ImplausibleError
from fleettrace.probes.model import ProbeKind, ProbePlan, TraceSettings
from fleettrace.summary.counts import OPS, Summary
from fleettrace.summary.key import KEY_MAX_LENGTH, Key
from fleettrace.summary.slices import MapLimits, SliceCounts, SliceSpread, Tally, spread_over

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

_MOST_LABELS = 4096
"""Labels of which the meaning is stored, beyond those of one slice."""


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
        self._scripted = any(plan.script is not None for plan in plans.values())
        """A program of the user's own prints its map once, so it has no timeline."""
        self._forget()
        self._tallies = {pid: self._tally(pid, Summary()) for pid in plans}
        self.slices = 0
        self.garbled = False
        """An incomplete slice lists more than its total, and was excluded."""
        self.overfull = False
        """The map of a program of the user's own was full: the number of requests that it left out is unknown."""

    def _forget(self) -> None:
        self._labels: dict[bytes, Entry] = {}
        self._pids: set[int] = set()
        """The processes of these labels."""
        self._impossible: set[bytes] = set()
        """Labels of keys that memcached cannot have received."""
        self._unclear: set[bytes] = set()
        """Labels of unknown kinds, where only some kinds are requested."""

    def _tally(self, pid: int, into: Summary) -> Tally[Any]:
        plan = self._plans[pid]
        named = _identity if plan.probe_kind is ProbeKind.COMMAND else self._key_of
        return Tally(into, self._limits, named, _op_of(plan))

    def _key_of(self, label: bytes) -> tuple[Key, int]:
        entry = self._labels[label]
        return _key(entry), entry.tag

    @property
    def summaries(self) -> dict[int, Summary]:
        """The sums of the slices, by pid."""
        return {pid: tally.summary for pid, tally in self._tallies.items()}

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
        counts = self._by_pid(raw)
        if not self._consistent(raw, counts, max(0, end - start)):
            self.garbled = True
            return {}
        self._end_ns = max(start, end)
        began, once = self._start_ns, self._scripted
        spread = SliceSpread(0) if once else spread_over(start - began, end - began, self._bucket_ns, self._buckets)
        parts = self._parts(raw, counts, start, end)
        self.slices += 1
        summaries = {}
        for pid, part in parts.items():
            tally = self._tally(pid, Summary()) if apart else self._tallies[pid]
            tally.add(part, spread)
            # Requests of unknown kind, where only some kinds are requested, may belong to any key.
            tally.summary.absent += part.unknown
            self._unknown[pid] += part.unknown
            if apart:
                summaries[pid] = tally.summary
                self._tallies[pid].summary.add(tally.summary)
            self._tallies[pid].summary.bound(self._keys)
        return summaries

    def _by_pid(self, raw: RawSlice) -> dict[int, dict[bytes, int]]:
        """Return the slice's counts by label, by process."""
        counts = raw.short | raw.long if raw.long else raw.short
        if len(self._labels) > _MOST_LABELS:
            self._forget()
        for label in counts.keys() - self._labels.keys():
            self._name(raw, label)
        if len(self._pids) == 1:
            return dict.fromkeys(self._pids, counts) if counts else {}
        by_pid: dict[int, dict[bytes, int]] = {}
        for label, requests in counts.items():
            by_pid.setdefault(self._labels[label].pid, {})[label] = requests
        return by_pid

    def _name(self, raw: RawSlice, label: bytes) -> None:
        entry = self._labels[label] = raw.labels.entry(label, 0)
        self._pids.add(entry.pid)
        plan, tag = self._plans.get(entry.pid), entry.tag
        if plan is None or plan.probe_kind is ProbeKind.COMMAND:
            return
        if not _plausible(plan, tag, entry.length, entry.data):
            self._impossible.add(label)
        known = plan.tagging.ops
        if plan.ops is not None and known is not None and (tag >= len(known) or known[tag] is None):
            self._unclear.add(label)

    def _check_time(self, start: int, end: int) -> None:
        """Raise `ImplausibleError` for a slice that ends before the last one did, or long after the window."""
        if end < start - _ORDER_NS:
            raise ImplausibleError("a slice that ends before it begins")
        if end > (self._start_ns or 0) + self._length_ns + LATE_S * 1e9:
            raise ImplausibleError("a slice that ends after the trace")

    def _consistent(self, raw: RawSlice, counts: Mapping[int, Mapping[bytes, int]], length_ns: int) -> bool:
        """Return whether a slice lists no more than its totals, which an incomplete slice may do.

        Raises `ImplausibleError` for a complete slice that does, an impossible number of requests or process id.
        """
        scripted = self._scripted
        listed = dict.fromkeys(raw.totals, 0) | {pid: sum(part.values()) for pid, part in counts.items()}
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
                key = _key(entry)
                found[key] = found.get(key, 0) + entry.requests
        return found, None if full else 0

    def _parts(
        self, raw: RawSlice, counts: Mapping[int, dict[bytes, int]], start: int, end: int
    ) -> dict[int, SliceCounts[Any]]:
        sizes = [one.values() for one in (raw.short, raw.long)]
        cut_off = [min(size) for size in sizes if len(size) >= max(1, self._limits.printed)]
        everything = not raw.complete and not raw.pruned
        parts: dict[int, SliceCounts[Any]] = {}
        for pid, plan in self._plans.items():
            part = parts[pid] = SliceCounts(
                self.slices, start, end, raw.totals.get(pid, 0),
                map_entries=max(map(len, sizes)), map_total=sum(raw.totals.values()),
                map_listed=sum(map(sum, sizes)), smallest=max(cut_off, default=0), everything=everything,
            )  # fmt: skip
            self._count(pid, part, counts.get(pid, {}))
            if plan.script is not None:
                # Its own map is the only source of the total: it has all requests unless it was full.
                part.total = sum(part.counts.values())
                self.overfull |= len(raw.short) + len(raw.long) >= self._printed_once
        return parts

    def _count(self, pid: int, part: SliceCounts[Any], counts: dict[bytes, int]) -> None:
        """Count one process's entries into its part of the slice."""
        plan = self._plans[pid]
        self._listed[pid] += sum(counts.values())
        if plan.probe_kind is ProbeKind.COMMAND:
            for label, requests in counts.items():
                _count_line(part, self._labels[label], requests, plan)
            return
        self._invalid[pid] += sum(counts[label] for label in self._impossible & counts.keys())
        part.counts = counts
        if unclear := self._unclear & counts.keys():
            part.counts = {label: requests for label, requests in counts.items() if label not in unclear}
            part.unknown = sum(counts[label] for label in unclear)
            part.total -= part.unknown


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


def _key(entry: Entry) -> Key:
    return Key(entry.data, max(entry.length, len(entry.data)))


def _count_line(part: SliceCounts[Any], entry: Entry, count: int, plan: ProbePlan) -> None:
    # One line may be several requests or none: the total, counted in lines, is corrected.
    cut = len(entry.data) < entry.length
    requests = [(key, op) for key, op in requests_of_line(entry.data, cut) if plan.ops is None or op in plan.ops]
    part.total += count * (len(requests) - 1)
    for key, op in requests:
        slot = (key, _LINE_TAGS[op])
        part.counts[slot] = part.counts.get(slot, 0) + count


def _identity(slot: tuple[Key, int]) -> tuple[Key, int]:
    return slot


_LINE_TAGS = {op: index for index, op in enumerate(OPS)}


def _tags(plan: ProbePlan) -> tuple[str | None, ...] | None:
    """Return the operation of each tag. For command lines the controller finds the operation."""
    return OPS if plan.probe_kind is ProbeKind.COMMAND else plan.tagging.ops


def _op_of(plan: ProbePlan) -> Callable[[int], str | None] | None:
    tags = _tags(plan)
    return None if tags is None else lambda tag: tags[tag] if 0 <= tag < len(tags) else None
