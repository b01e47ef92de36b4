"""Recognize a trace that counts more than memcached can have served. Pure.

The sum of memcached's counters alone proves nothing. memcached 1.6.18 counts no `me`, no incr or decr of a value that
is not a number, no `md` that marks an item as stale (I) and no store of a value that is too large; the probe counts all
of these, and a client may send nothing else. Two things are proof:

- look-ups (get and touch with their kin, in the meta protocol too): memcached counts each, whatever it finds;
- the bytes that the process read: a request holds its key and at least one byte more.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleettrace.node.model import Instance
from fleettrace.node.plausible import IMPLAUSIBLE
from fleettrace.node.samples import most_counted, most_read
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure

__all__ = ["BYTES_SLACK", "COUNTED_MORE", "REQUESTS_SLACK", "Excess", "excess"]

COUNTED_MORE = "counted-more"
"""The code of a warning: the trace counted more look-ups than memcached did."""
REQUESTS_SLACK = 100
"""Requests that a trace may count beyond memcached's counters: each thread passes the probe before it counts, and old
versions add up to 8 keys of a multiget at once."""
PART_SLACK = 0.01
"""The same as a part of what memcached counted: what the report calls full coverage is as wide."""
ABSURD = 2
"""A trace of more than so many times what was counted, and what was read, is implausible. Twice, for a request may pass
a probe twice: a counter that a request creates is looked up a second time, to store it."""
BYTES_SLACK = 64 << 10
"""Bytes of keys that may have been read before the window's first sample: four of memcached's read buffers (16 KiB,
READ_BUFFER_SIZE in memcached.h)."""
_STOPS_NS = 150_000_000
"""How late a trace that was stopped early may have ended: the program notes the time every 100 ms."""
_LOOKUPS = ("get", "touch")


@dataclass(frozen=True, slots=True)
class Excess:
    """What a trace counted too much: `absurd` where nothing of it can be reported."""

    failure: Failure
    absurd: bool


def excess(end: TraceEnd, instance: Instance, plan: ProbePlan, summary: Summary) -> Excess | None:
    """Return in how far a trace counted more than memcached can have served; None where it did not, or that is unknown.

    What memcached counted and read at the most is known where its samples reach around the window.
    """
    if plan.script is not None or instance.proxy or instance.pid not in end.alive:
        return None
    samples = end.samples.get(instance.pid, [])
    end_ns = end.start_ns + round(end.window_s * 1e9) + (0 if end.complete else _STOPS_NS)
    counted = most_counted(samples, end.start_ns, end_ns)
    if counted is None:
        return None
    read = most_read(samples, end.start_ns, end_ns)
    where = f"the trace of pid {instance.pid}"
    key_bytes = _key_bytes(summary)
    if (
        read is not None
        and summary.total > ABSURD * counted + REQUESTS_SLACK
        and key_bytes > ABSURD * read + BYTES_SLACK
    ):
        return Excess(
            Failure(
                IMPLAUSIBLE,
                f"{where} counted {summary.total:,} requests with {key_bytes:,} bytes of keys, but memcached counted "
                f"{counted:,} and read {read:,} bytes, so nothing is reported of it; check the bpftrace command and "
                "who controls that node",
            ),
            absurd=True,
        )
    lookups = _lookups(summary)
    # Other probe kinds see requests that memcached refuses, and counts in nothing, before it looks anything up.
    if plan.probe_kind is not ProbeKind.ITEM or lookups <= counted * (1 + PART_SLACK) + REQUESTS_SLACK:
        return None
    return Excess(
        Failure(
            COUNTED_MORE,
            f"{where} counted {lookups:,} look-ups, but memcached counted {counted:,} requests of all kinds, so its "
            "counts are not exact and certify no key; check the bpftrace command, and compare with `--probe command`",
        ),
        absurd=False,
    )


def _lookups(summary: Summary) -> int:
    """Return the requests that surely are look-ups: those of keys that are listed with their kinds."""
    return sum(count.ops.get(kind, 0) for count in summary.keys.values() if count.ops for kind in _LOOKUPS)


def _key_bytes(summary: Summary) -> int:
    """Return the least bytes in which these requests can have arrived: a key, and a space or the end of the line."""
    listed = sum(count.requests for count in summary.keys.values())
    return sum(count.requests * (key.length + 1) for key, count in summary.keys.items()) + 2 * max(
        0, summary.total - listed
    )
