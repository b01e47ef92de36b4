"""What a trace will cost and what it did: the window that is affordable, maps of a bounded size, the bill. Pure.

A probe's cost is per request and cannot be made smaller by recording less (the trap is the cost), so what bounds it is
time: on a busy host the window is shortened, and the host is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fleettrace.node.samples import Sample, counted, cpu_between
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import KeyLayout, TraceSettings
from fleettrace.summary.run import Coverage, ProbeVerdict, TracingCost

__all__ = [
    "MAP_MEMORY",
    "MIN_WINDOW_S",
    "WORST_US",
    "Prediction",
    "affordable_window",
    "costs_of",
    "coverage_of",
    "map_bytes",
    "may_cost",
    "measured_verdict",
    "most_us",
    "sized",
]

MIN_WINDOW_S = 1.0
"""Seconds that every host is traced for, whatever it costs."""
WORST_US = 50.0
"""Microseconds that a probe of unknown cost may take from a request until it is measured: twice and more what a
single-stepped one takes on an x86 virtual machine."""
MAP_MEMORY = 64 << 20
"""Bytes of kernel memory that a trace's maps take at the most."""
LEAST_ENTRIES = 16384
"""Room for what a quiet host may suddenly get."""
SHORTEST_SLICE_MS = 250

_PROBES_GO_IN_NS = 500_000_000
"""How long before the counting starts bpftrace may already have put its probes in: seen up to 0.3 s."""
_STOPS_NS = 150_000_000
"""How well the end of a trace that was stopped early is known: the program notes the time every 100 ms."""
_MEANINGFUL_CPU_NS = 20_000_000
_MEANINGFUL_REQUESTS = 500
"""Less CPU or fewer requests say nothing of the cost of one: the kernel books a thread's time every 4 ms or so."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What tracing one instance is going to cost it."""

    rate: float
    """Requests a second."""
    cost_us: float
    """Microseconds of CPU that a request pays for its probe."""
    spent_s: float = 0.0
    """Seconds that the instance was traced for already, to measure that."""
    known: str = "about"
    """How the cost is known, as it stands before the number in a message."""

    @property
    def cores(self) -> float:
        """The part of one core that it takes."""
        return self.rate * self.cost_us / 1e6


def affordable_window(duration_s: float, max_cost: float, predictions: Sequence[Prediction]) -> float:
    """Seconds to trace for, so that no instance pays more than `max_cost` cores over `duration_s` would be."""
    windows = [duration_s * max_cost / one.cores - one.spent_s for one in predictions if one.cores > max_cost]
    return min(duration_s, max(MIN_WINDOW_S, min(windows, default=duration_s)))


def may_cost(rate: float | None, max_cost: float) -> bool:
    """Return whether a probe that nobody has measured may cost an instance more than `max_cost` cores."""
    return rate is None or Prediction(rate, WORST_US).cores > max_cost


def most_us(cost: TracingCost) -> float | None:
    """Return what the probe of a measured trace cost a request at the most: all of its CPU where the CPU before the
    trace is not known. None where there was too little traffic to cost anything."""
    return None if cost.during_us is None else max(0.0, cost.during_us - (cost.before_us or 0.0))


def measured_verdict(verdict: ProbeVerdict, cost: TracingCost | None) -> ProbeVerdict:
    """Return the verdict with the cost that the trace measured, if no model predicted one."""
    if verdict.cost is not None or cost is None or cost.before_us is None or cost.during_us is None:
        return verdict
    each = round(max(0.0, cost.during_us - cost.before_us), 1)
    return replace(
        verdict, cost=each, why=f"{verdict.why}; its cost was measured at run time, for no model predicts it"
    )


def map_bytes(layout: KeyLayout, cpus: int, kept: int = 0) -> int:
    """Kernel memory for each entry that bpftrace's maps are given, all the program's maps together; `kept` pairs of
    them are there for misses and sizes.

    Linux allocates a hash map's elements when it is made (kernel/bpf/hashtab.c): 48 bytes of its own, the key, a
    pointer and for each possible CPU the 8 bytes of a count; and buckets of 16 bytes, up to two for an entry.
    """
    each = 48 + 8 + 32 + 8 * cpus
    by_short_key = each + 8 + layout.short
    by_long_key = each + 24 + layout.strlen * layout.pieces
    by_pid = each + 8
    return 2 * (by_short_key + by_long_key + by_pid) + by_pid + kept * (by_short_key + by_long_key + by_pid)


def sized(settings: TraceSettings, rate: float | None, layout: KeyLayout, cpus: int, kept: int = 0) -> TraceSettings:
    """The settings with maps that a slice's keys rarely fill, at `rate` requests a second (None: not known).

    A slice cannot have more keys than requests; twice as many have room, within `MAP_MEMORY`. Where memory does not
    allow for that, slices are shorter.
    """
    affordable = MAP_MEMORY // map_bytes(layout, cpus, kept)
    if rate is None:
        return replace(settings, entries=min(settings.entries, affordable))
    slice_s = settings.slice_ms / 1000
    wanted = math.ceil(2 * rate * slice_s)
    entries = min(max(wanted, LEAST_ENTRIES), affordable)
    if wanted <= entries:
        return replace(settings, entries=entries)
    slice_ms = max(SHORTEST_SLICE_MS, settings.slice_ms * entries // wanted)
    return replace(settings, entries=entries, slice_ms=min(slice_ms, settings.slice_ms))


def coverage_of(end: TraceEnd, pid: int, traced: int) -> Coverage | None:
    """What the memcached counted itself over the window; None where it could not be asked.

    Its counters are known at some moments only. Where they leave open what was counted between the first and the last
    moment of the window, the possible number nearest to what was traced is taken: what is missing then is surely so.
    """
    looks = end.samples.get(pid, [])
    end_ns = end.start_ns + round(end.window_s * 1e9)
    span = counted(looks, end.start_ns, end_ns)
    latest = span if end.complete else counted(looks, end.start_ns, end_ns + _STOPS_NS)
    if span is None or latest is None or pid not in end.alive:
        return None
    return Coverage(span._replace(greatest=latest.greatest).nearest(traced), traced)


def costs_of(
    end: TraceEnd, requests: Mapping[int, int], coverage: Mapping[int, Coverage | None]
) -> dict[int, TracingCost]:
    """What the trace cost each of the processes that it counted `requests` of.

    bpftrace's own CPU is one number for the host; each process has the part of it that its requests have of all.
    """
    total = sum(requests.values())
    costs = {}
    for pid, traced in requests.items():
        looks = end.samples.get(pid, [])
        covered = coverage.get(pid)
        share = traced / total if total else 1 / len(requests)
        costs[pid] = TracingCost(
            before_us=_before(looks, end.start_ns),
            during_us=_each_us(
                cpu_between(looks, end.start_ns, end.start_ns + round(end.window_s * 1e9)),
                traced if covered is None else covered.counted,
            ),
            tracer_cpu_s=None if end.tracer_cpu_s is None else end.tracer_cpu_s * share,
        )
    return costs


def _before(looks: Sequence[Sample], start_ns: int) -> float | None:
    told = [
        look
        for look in looks
        if look.ns <= start_ns - _PROBES_GO_IN_NS and look.cpu_ns is not None and look.requests is not None
    ]
    if not told:
        return None
    first, last = told[0], told[-1]
    return _each_us((last.cpu_ns or 0) - (first.cpu_ns or 0), (last.requests or 0) - (first.requests or 0))


def _each_us(cpu_ns: int | None, requests: int) -> float | None:
    """Microseconds for each request; None where there is too little of either to say."""
    if cpu_ns is None or cpu_ns < _MEANINGFUL_CPU_NS or requests < _MEANINGFUL_REQUESTS:
        return None
    return cpu_ns / requests / 1000
