"""Recognize a trace that did not see the traffic it was there for. Pure.

A count of zero is a claim. It is refuted by what memcached counted itself (`stats`), or, where it could not be asked,
by what it read from its sockets.
"""

from __future__ import annotations

from fleettrace.node.model import Instance
from fleettrace.node.samples import read_between, surely_counted
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbePlan
from fleettrace.summary.run import Failure

__all__ = ["BLIND", "LEAST_MISSING", "LEAST_READ", "NEARLY_NONE", "NEARLY_NONE_APPROXIMATE", "blindness"]

BLIND = "blind"
"""The code of an instance whose traffic the trace did not see."""
LEAST_MISSING = 3
"""Requests that must surely be missing. Fewer can be requests in progress when the window begins: memcached's thread
passes the probe before, and counts the request after."""
NEARLY_NONE = 0.10
"""A trace saw nearly none of the traffic when it saw less than this part of it."""
NEARLY_NONE_APPROXIMATE = 0.01
"""The same for probe kinds that count approximately: `syscall` counts one request of a multiget of up to 100 keys."""
LEAST_READ = 64 << 10
"""Bytes read in the window that are traffic, where memcached could not be asked and the trace saw nothing. Health
checks and failed attempts to ask stay below: a TLS handshake sends about 1 KB."""


def blindness(end: TraceEnd, instance: Instance, plan: ProbePlan, traced: int) -> Failure | None:
    """Return the failure of an instance that had traffic of which the trace saw none or nearly none; else None.

    Only requests that are surely missing count: those between the first and the last sample inside the window. A trace
    of some kinds of request (`--ops`) or by a user's own program cannot be compared with memcached's sum of all kinds.
    """
    if plan.ops is not None or plan.script is not None:
        return None
    pid = instance.pid
    samples = end.samples.get(pid, [])
    end_ns = end.start_ns + round(end.window_s * 1e9)
    # A proxy counts only what it answers itself.
    counted = None if instance.proxy else surely_counted(samples, end.start_ns, end_ns)
    if counted is not None:
        part = NEARLY_NONE if plan.verdict.exact else NEARLY_NONE_APPROXIMATE
        if counted - traced < LEAST_MISSING or traced >= part * counted:
            return None
        return _failure(pid, plan, traced, f"memcached counted {counted:,} requests")
    received = read_between(samples, end.start_ns, end_ns)
    if traced or received is None or received < LEAST_READ:
        return None
    return _failure(pid, plan, traced, f"memcached does not tell what it counted but read {received:,} bytes")


def _failure(pid: int, plan: ProbePlan, traced: int, evidence: str) -> Failure:
    saw = f"{traced:,} of them" if traced else "no request"
    where = f"the probe `{plan.probe_kind}`" + (f" on {plan.verdict.symbol}" if plan.verdict.symbol else "")
    return Failure(
        BLIND,
        f"the trace of pid {pid} is blind: {evidence} in the window and {where} saw {saw}, so nothing is reported of "
        "it; try another probe kind (`--probe command`, `--probe watch`)",
    )
