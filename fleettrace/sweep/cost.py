"""Predict and measure the cost of a trace: the affordable window, the size of the maps, the cost per request. Pure.

A probe costs CPU time for each request, and recording less does not reduce that: the trap itself is the cost. So the
window is shortened on a busy host, and no host is left out.
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
    "STOPS_NS",
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
"""Seconds for which every host is traced, whatever the cost."""
WORST_US = 50.0
"""Microseconds that a probe of unknown cost is taken to add to a request until it is measured: more than twice the cost
of a single-stepped one on an x86 virtual machine."""
MAP_MEMORY = 64 << 20
"""Most bytes of kernel memory that the maps of a trace take."""
LEAST_ENTRIES = 16384
"""Least entries of a map, so that it has room when a quiet host becomes busy."""
SHORTEST_SLICE_MS = 250

_INSERTED_NS = 500_000_000
"""How long before the counting starts bpftrace may have inserted its probes: up to 0.3 s was measured."""
STOPS_NS = 150_000_000
"""How exactly the end of a trace that was stopped early is known: the program records the time every 100 ms."""
_MEANINGFUL_CPU_NS = 20_000_000
_MEANINGFUL_REQUESTS = 500
"""With less CPU time or fewer requests the cost of one is unknown: the kernel accounts CPU time about every 4 ms."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted cost of tracing one instance."""

    rate: float
    """Requests a second."""
    cost_us: float
    """Microseconds of CPU that the probe adds to a request."""
    spent_s: float = 0.0
    """Seconds for which the instance was traced already, to measure the cost."""
    known: str = "about"
    """How the cost is known: the words before the number in a message."""

    @property
    def cores(self) -> float:
        """The share of one core that the probe takes."""
        return self.rate * self.cost_us / 1e6


def affordable_window(duration_s: float, max_cost: float, predictions: Sequence[Prediction]) -> float:
    """Return the seconds to trace for, so that no instance pays more CPU time than `max_cost` cores in `duration_s`."""
    windows = [duration_s * max_cost / one.cores - one.spent_s for one in predictions if one.cores > max_cost]
    return min(duration_s, max(MIN_WINDOW_S, min(windows, default=duration_s)))


def may_cost(rate: float | None, max_cost: float) -> bool:
    """Return whether a probe that was not measured may cost an instance more than `max_cost` cores."""
    return rate is None or Prediction(rate, WORST_US).cores > max_cost


def most_us(cost: TracingCost) -> float | None:
    """Return the most microseconds that a measured probe added to a request: all CPU time of a request where the time
    before the trace is unknown. None where there was too little traffic to measure."""
    return None if cost.during_us is None else max(0.0, cost.during_us - (cost.before_us or 0.0))


def measured_verdict(verdict: ProbeVerdict, cost: TracingCost | None) -> ProbeVerdict:
    """Return the verdict with the cost that the trace measured, where no model predicted one."""
    if verdict.cost is not None or cost is None or cost.before_us is None or cost.during_us is None:
        return verdict
    each = round(max(0.0, cost.during_us - cost.before_us), 1)
    return replace(
        verdict, cost=each, why=f"{verdict.why}; its cost was measured at run time, because no model predicts it"
    )


def map_bytes(layout: KeyLayout, cpus: int, window_maps: int = 0) -> int:
    """Return the bytes of kernel memory per map entry, for all maps of the program together.

    `window_maps` is the number of pairs of maps for misses, sizes and clients. (Clients have no map of long keys: its
    bytes stand for those of their smaller maps.)

    Linux allocates the elements when it creates a hash map (kernel/bpf/hashtab.c): for each one 48 bytes, the key, a
    pointer, 8 bytes per possible CPU for the count, and up to two buckets of 16 bytes.
    """
    each = 48 + 8 + 32 + 8 * cpus
    by_short_key = each + 8 + layout.short
    by_long_key = each + 24 + layout.strlen * layout.pieces
    by_pid = each + 8
    return 2 * (by_short_key + by_long_key + by_pid) + by_pid + window_maps * (by_short_key + by_long_key + by_pid)


def sized(
    settings: TraceSettings, rate: float | None, layout: KeyLayout, cpus: int, window_maps: int = 0
) -> TraceSettings:
    """Return the settings with maps that the keys of a slice rarely fill, at `rate` requests a second (None: unknown).

    A slice cannot have more keys than requests. The maps have room for twice as many, up to `MAP_MEMORY`; where that is
    too little memory, slices are shorter.
    """
    affordable = MAP_MEMORY // map_bytes(layout, cpus, window_maps)
    if rate is None:
        return replace(settings, entries=min(settings.entries, affordable))
    slice_s = settings.slice_ms / 1000
    needed = math.ceil(2 * rate * slice_s)
    entries = min(max(needed, LEAST_ENTRIES), affordable)
    if needed <= entries:
        return replace(settings, entries=entries)
    slice_ms = max(SHORTEST_SLICE_MS, settings.slice_ms * entries // needed)
    return replace(settings, entries=entries, slice_ms=min(slice_ms, settings.slice_ms))


def coverage_of(end: TraceEnd, pid: int, traced: int) -> Coverage | None:
    """Return what memcached itself counted in the window, beside what was traced; None where it did not answer.

    Its counters are known only at the moments of the samples. Of the numbers that are possible for the window, take the
    one nearest to what was traced: requests that are missing then are missing for certain.
    """
    samples = end.samples.get(pid, [])
    end_ns = end.start_ns + round(end.window_s * 1e9)
    span = counted(samples, end.start_ns, end_ns)
    latest = span if end.complete else counted(samples, end.start_ns, end_ns + STOPS_NS)
    if span is None or latest is None or pid not in end.alive:
        return None
    return Coverage(span._replace(greatest=latest.greatest).nearest(traced), traced)


def costs_of(
    end: TraceEnd, requests: Mapping[int, int], coverage: Mapping[int, Coverage | None]
) -> dict[int, TracingCost]:
    """Return the cost of the trace for each process, by pid. `requests` is what was traced of each.

    bpftrace's own CPU time is one number for the host: each process gets a share of it, as it has of all requests.
    """
    total = sum(requests.values())
    costs = {}
    for pid, traced in requests.items():
        samples = end.samples.get(pid, [])
        covered = coverage.get(pid)
        share = traced / total if total else 1 / len(requests)
        costs[pid] = TracingCost(
            before_us=_before_us(samples, end.start_ns),
            during_us=_each_us(
                cpu_between(samples, end.start_ns, end.start_ns + round(end.window_s * 1e9)),
                traced if covered is None else covered.counted,
            ),
            tracer_cpu_s=None if end.tracer_cpu_s is None else end.tracer_cpu_s * share,
        )
    return costs


def _before_us(samples: Sequence[Sample], start_ns: int) -> float | None:
    """Return the microseconds of CPU per request before bpftrace inserted its probes; None where they are unknown."""
    early = [
        sample
        for sample in samples
        if sample.ns <= start_ns - _INSERTED_NS and sample.cpu_ns is not None and sample.requests is not None
    ]
    if not early:
        return None
    first, last = early[0], early[-1]
    return _each_us((last.cpu_ns or 0) - (first.cpu_ns or 0), (last.requests or 0) - (first.requests or 0))


def _each_us(cpu_ns: int | None, requests: int) -> float | None:
    """Return the microseconds per request; None where there is too little of either."""
    if cpu_ns is None or cpu_ns < _MEANINGFUL_CPU_NS or requests < _MEANINGFUL_REQUESTS:
        return None
    return cpu_ns / requests / 1000
