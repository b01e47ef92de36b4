"""Compare a trace with memcached's own counters: it may have missed the traffic, or counted more than was served. Pure.

**Blind.** A count of zero needs proof. What memcached itself counted (`stats`) refutes it, or, where memcached did not
answer or its counters were reset, the bytes that it read from its sockets.

**Excess.** The sum of memcached's counters alone proves nothing. memcached 1.6.18 counts no `me`, no incr or decr of a
value that is not a number, no `md` that marks an item as stale (I) and no store of a value that is too large; the probe
counts all of these, and a client may send nothing else. Two things are proof:

- look-ups (get and touch and their variants, in the meta protocol too): memcached counts each, hit or miss;
- the bytes that the process read: a request holds its key and at least one more byte.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleettrace.node.model import Instance
from fleettrace.node.plausible import IMPLAUSIBLE
from fleettrace.node.samples import most_counted, most_read, read_between, surely_counted, was_reset
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure
from fleettrace.sweep.cost import STOPS_NS

__all__ = ["BLIND", "LEAST_READ", "Excess", "blindness", "excess", "unproven"]

BLIND = "blind"
"""The code of an instance with traffic that the trace did not see."""
_UNPROVEN = "zero-unproven"
"""The code of an instance of which the trace saw no request, and no sample shows whether it had any."""
_LEAST_MISSING = 3
"""Requests that must be missing for certain, at least. Fewer can be in progress when the window starts: memcached's
thread passes the probe before, and counts the request after."""
_NEARLY_NONE = 0.10
"""A trace that saw less than this share of the traffic is blind."""
_NEARLY_NONE_APPROXIMATE = 0.01
"""The same for probe kinds that count approximately: `syscall` counts one request of a multiget of up to 100 keys."""
LEAST_READ = 64 << 10
"""Bytes read in the window that count as traffic, where memcached did not answer and the trace saw nothing. Health
checks and failed attempts to ask stay below: a TLS handshake sends about 1 KB."""
_MOST_READ_EACH = 8 << 10
"""Bytes that a request without a value takes at the most: 250 of its key, its other words, and the TLS handshake of a
connection of its own, with a client's certificate (2 to 6 KB)."""

_COUNTED_MORE = "counted-more"
"""The code of a warning: the trace counted more look-ups than memcached did."""
_REQUESTS_SLACK = 100
"""Requests that a trace may count beyond memcached's counters: each thread passes the probe before it counts, and old
versions add up to 8 keys of a multiget at once."""
_SHARE_SLACK = 0.01
"""The same as a share of what memcached counted: the tolerance that the report grants full coverage."""
_ABSURD = 2
"""A trace of more than this multiple of what was counted and read is implausible. Two, because a request may pass a
probe twice: a counter that a request creates is looked up a second time, to store it."""
_BYTES_SLACK = 64 << 10
"""Bytes of keys that may have been read before the first sample in the window: four of memcached's read buffers (16
KiB, READ_BUFFER_SIZE in memcached.h)."""
_LOOKUPS = ("get", "touch")


def blindness(end: TraceEnd, instance: Instance, plan: ProbePlan, traced: int) -> Failure | None:
    """Return the failure of an instance that had traffic of which the trace saw none or nearly none; else None.

    Only requests that are certainly missing count: those between the first and the last sample in the window. A trace
    of some kinds of request (`--ops`) or by a user's program cannot be compared with memcached's sum of all kinds.
    """
    if plan.ops is not None or plan.script is not None:
        return None
    pid = instance.pid
    samples = end.samples.get(pid, [])
    end_ns = end.start_ns + round(end.window_s * 1e9)
    # A proxy counts only what it answers itself.
    counted = None if instance.proxy else surely_counted(samples, end.start_ns, end_ns)
    if counted is not None:
        share = _NEARLY_NONE if plan.verdict.exact else _NEARLY_NONE_APPROXIMATE
        if counted - traced >= _LEAST_MISSING and traced < share * counted:
            return _blind(pid, plan, traced, f"memcached counted {counted:,} requests")
        if not was_reset(samples):
            return None
    received = read_between(samples, end.start_ns, end_ns)
    explained = _most_read(plan, end.summaries.get(pid), traced)
    if received is None or explained is None or received < LEAST_READ + explained:
        return None
    why = "does not report its counters" if counted is None else "had its counters reset"
    return _blind(pid, plan, traced, f"memcached {why} but read {received:,} bytes")


def unproven(end: TraceEnd, instance: Instance, plan: ProbePlan, traced: int) -> Failure | None:
    """Return the failure of an instance without a traced request that no sample shows to be idle; else None.

    The counters, or the bytes read, prove something where two samples lie in the window, or on both sides of it. A
    proxy counts only what it answers itself. Neither covers some kinds of request (`--ops`) or a user's program.
    """
    if traced or plan.ops is not None or plan.script is not None:
        return None
    samples = end.samples.get(instance.pid, [])
    start_ns, end_ns = end.start_ns, end.start_ns + round(end.window_s * 1e9)
    growths = [read_between(samples, start_ns, end_ns), most_read(samples, start_ns, end_ns)]
    if not instance.proxy:
        growths += [surely_counted(samples, start_ns, end_ns), most_counted(samples, start_ns, end_ns)]
    if any(growth is not None for growth in growths):
        return None
    return Failure(
        _UNPROVEN,
        f"the trace of pid {instance.pid} saw no request, and neither its counters nor the bytes that it read were "
        "sampled in the window, so whether it had traffic is unknown and the report has no counts of it; trace it for "
        "longer, and install perl on the node",
    )


def _most_read(plan: ProbePlan, summary: Summary | None, traced: int) -> int | None:
    """Return the most bytes that memcached can have read for the traced requests; None if unknown.

    It is known where all of them are known to be look-ups: a store brings a value of any size. A probe kind that counts
    approximately counts one request of many.
    """
    if not traced:
        return 0
    if summary is None or not plan.verdict.exact or _lookups(summary) < traced:
        return None
    return traced * _MOST_READ_EACH


def _blind(pid: int, plan: ProbePlan, traced: int, evidence: str) -> Failure:
    saw = f"{traced:,} requests" if traced else "no request"
    where = f"the probe `{plan.probe_kind}`" + (f" on {plan.verdict.symbol}" if plan.verdict.symbol else "")
    return Failure(
        BLIND,
        f"the trace of pid {pid} is blind: {evidence} in the window and {where} saw {saw}, so the report has no counts "
        "of it; try another probe kind (`--probe command`, `--probe watch`)",
    )


@dataclass(frozen=True, slots=True)
class Excess:
    """The failure of a trace that counted too much. If `absurd`, nothing of it can be reported."""

    failure: Failure
    absurd: bool


def excess(end: TraceEnd, instance: Instance, plan: ProbePlan, summary: Summary) -> Excess | None:
    """Return how a trace counted more than memcached can have served; None where it did not, or that is unknown.

    The most that memcached can have counted and read is known only where its samples reach beyond both ends of the
    window.
    """
    if plan.script is not None or instance.proxy or instance.pid not in end.alive:
        return None
    samples = end.samples.get(instance.pid, [])
    end_ns = end.start_ns + round(end.window_s * 1e9) + (0 if end.complete else STOPS_NS)
    counted = most_counted(samples, end.start_ns, end_ns)
    if counted is None:
        return None
    read = most_read(samples, end.start_ns, end_ns)
    where = f"the trace of pid {instance.pid}"
    key_bytes = _key_bytes(summary)
    if (
        read is not None
        and summary.total > _ABSURD * counted + _REQUESTS_SLACK
        and key_bytes > _ABSURD * read + _BYTES_SLACK
    ):
        message = (
            f"{where} counted {summary.total:,} requests with {key_bytes:,} bytes of keys, but memcached counted "
            f"{counted:,} and read {read:,} bytes, so the report has no counts of it; check the bpftrace command and "
            "who controls that node"
        )
        return Excess(Failure(IMPLAUSIBLE, message), absurd=True)
    lookups = _lookups(summary)
    # Other probe kinds see requests that memcached rejects before it looks a key up, and counts nowhere.
    if plan.probe_kind is not ProbeKind.ITEM or lookups <= counted * (1 + _SHARE_SLACK) + _REQUESTS_SLACK:
        return None
    message = (
        f"{where} counted {lookups:,} look-ups, but memcached counted {counted:,} requests of all kinds, so its "
        "counts are not exact and certify no key; check the bpftrace command, and compare with `--probe command`"
    )
    return Excess(Failure(_COUNTED_MORE, message), absurd=False)


def _lookups(summary: Summary) -> int:
    """Return the requests that certainly are look-ups: those of the keys that are listed with their kinds."""
    return sum(count.ops.get(kind, 0) for count in summary.keys.values() if count.ops for kind in _LOOKUPS)


def _key_bytes(summary: Summary) -> int:
    """Return the least bytes of these requests: each has a key, and a space or the end of the line."""
    listed = sum(count.requests for count in summary.keys.values())
    listed_bytes = sum(count.requests * (key.length + 1) for key, count in summary.keys.items())
    return listed_bytes + 2 * max(0, summary.total - listed)
