"""Leave out of a host's trace what cannot be attached: an instance that has ended, or a binary that the kernel refuses.

One such instance would otherwise cost the host all of them, for bpftrace starts with all of its probes or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

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
"""bpftrace 0.17 to 0.25 say `Error attaching probe: uprobe:/proc/7/exe:NAME`, 0.26 on `Unable to attach probe: ...`."""

_Traced = TypeVar("_Traced")
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
    attempt: Callable[[_Traced, Sequence[Planned]], _Outcome],
    nothing_left: Callable[[Sequence[Planned]], _Outcome],
    traced: _Traced,
    planned: Sequence[Planned],
) -> _Outcome:
    """Return what `attempt` gives; where it fails because of some instances, what it gives without these.

    `traced` is a dataclass with the `plans` of `planned`. Each attempt has fewer instances than the last one, so there
    are no more attempts than instances. Raises `HostError` where no instance is to blame.
    """
    while True:
        try:
            return attempt(traced, planned)
        except (AttachError, RefusedError) as error:
            plans: Sequence[tuple[Instance, ProbePlan]] = _plans(traced)
            out = error.failures if isinstance(error, RefusedError) else dropped(error, plans)
            if not any(instance.pid in out for instance, _ in plans):
                raise
        planned = without(planned, out)
        if not any(each.plan for each in planned):
            return nothing_left(planned)
        left: Any = [(instance, plan) for instance, plan in plans if instance.pid not in out]
        traced = replace(traced, plans=left)  # type: ignore[type-var]


def _plans(traced: Any) -> Sequence[tuple[Instance, ProbePlan]]:
    plans: Sequence[tuple[Instance, ProbePlan]] = traced.plans
    return plans


def without(planned: Sequence[Planned], out: Mapping[int, Failure]) -> list[Planned]:
    """Return `planned` with the failures of the instances in `out` in the place of their plans."""
    return [
        replace(each, plan=None, failure=out[each.instance.pid]) if each.instance.pid in out else each
        for each in planned
    ]
