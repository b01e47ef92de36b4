"""Leave out of a host's trace what cannot be attached: an instance that has ended, or a binary that the kernel refuses.

bpftrace starts with all of its probes or not at all, so one such instance would cost the host all the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from fleettrace.node.binding import RefusedError
from fleettrace.node.model import Instance
from fleettrace.node.planning import Planned
from fleettrace.node.trace_end import AttachError
from fleettrace.probes.model import ProbePlan
from fleettrace.summary.run import Failure

__all__ = ["DROPPED", "dropped", "leaving_out", "without"]

_ENDED = "memcached-ended"
_REFUSED = "attach-refused"
DROPPED = frozenset((_ENDED, _REFUSED))
"""The codes of instances that were left out."""

_NOT_ATTACHED = re.compile(r"\b[Aa]ttach(?:ing)? probe: u\w+:/proc/(\d{1,10})/exe\b")
"""bpftrace 0.17 to 0.25 print `Error attaching probe: uprobe:/proc/7/exe:NAME`, 0.26 and later `Unable to attach probe:
...`."""


class _HasPlans(Protocol):
    @property
    def plans(self) -> Sequence[tuple[Instance, ProbePlan]]: ...


_TracePlan = TypeVar("_TracePlan", bound=_HasPlans)
_Outcome = TypeVar("_Outcome")


def dropped(error: AttachError, plans: Sequence[tuple[Instance, ProbePlan]]) -> dict[int, Failure]:
    """Return the instances to leave out of the next attempt, by pid, with the reason of each; none where the error
    names none."""
    pids = [instance.pid for instance, _ in plans]
    if gone := [pid for pid in pids if pid in error.gone]:
        return {
            pid: Failure(_ENDED, f"memcached (pid {pid}) ended before its probe was in place, so it is not traced")
            for pid in gone
        }
    named = {int(found) for found in _NOT_ATTACHED.findall(error.message)}
    inodes = {instance.binary.inode for instance, _ in plans if instance.pid in named}
    return {
        instance.pid: Failure(
            _REFUSED,
            f"the kernel refused the probe on {instance.exe.decode('utf-8', 'backslashreplace')} (pid {instance.pid}), "
            f"so it is not traced: try --probe command or --probe watch ({error.message})",
        )
        for instance, _ in plans
        if instance.binary.inode in inodes
    }


def leaving_out(
    trace: Callable[[_TracePlan, Sequence[Planned]], _Outcome],
    nothing_left: Callable[[Sequence[Planned]], _Outcome],
    trace_plan: _TracePlan,
    planned: Sequence[Planned],
) -> _Outcome:
    """Return the outcome of `trace`, without the instances that make it fail; `nothing_left` gives the outcome where
    that are all of them.

    `trace_plan` is a dataclass with the `plans` of `planned`. Each attempt has fewer instances than the one before, so
    there are no more attempts than instances. Raises `HostError` where no single instance causes the failure.
    """
    while True:
        try:
            return trace(trace_plan, planned)
        except (AttachError, RefusedError) as error:
            plans = trace_plan.plans
            failures = error.failures if isinstance(error, RefusedError) else dropped(error, plans)
            if not any(instance.pid in failures for instance, _ in plans):
                raise
        planned = without(planned, failures)
        if not any(each.plan for each in planned):
            return nothing_left(planned)
        remaining = [(instance, plan) for instance, plan in plans if instance.pid not in failures]
        trace_plan = replace(trace_plan, plans=remaining)  # type: ignore[type-var]


def without(planned: Sequence[Planned], failures: Mapping[int, Failure]) -> list[Planned]:
    """Return `planned` with a failure in the place of the plan of each instance in `failures`, which is by pid."""
    return [
        replace(each, plan=None, failure=failures[each.instance.pid]) if each.instance.pid in failures else each
        for each in planned
    ]
