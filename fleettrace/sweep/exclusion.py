"""Leave out of a host's trace what cannot be attached: an instance that has ended, or a binary that the kernel refuses.

bpftrace starts with all of its probes or not at all, so one such instance would cost the host all the others. It names
only the first one, so each costs an attempt of some seconds. Any local user can run many binaries that the kernel
refuses, but cannot make a file that root owns. So beside root's binaries, few of users are traced (bpftrace starts
after 1.5 s with 4 binaries, 5 s with 9, more than 30 s with 26), and none after the second attempt that fails because
of one.
"""

from __future__ import annotations

import re
from collections import Counter
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
_SKIPPED = "attach-skipped"
DROPPED = frozenset((_ENDED, _REFUSED, _SKIPPED))
"""The codes of instances that were left out."""
_USERS_FAILURES = 2
"""Attempts that may fail because of binaries that are not root's, where there are binaries of root's too."""
_USERS_BINARIES = 6
"""Binaries that are not root's and are traced beside root's: the first of each owner, then the second."""
_FAILURES = 5
"""The same where there are none."""

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

    `trace_plan` is a dataclass with the `plans` of `planned`. Each attempt has fewer instances than the one before.
    There are no more attempts than binaries of root's and `_FAILURES` together. Raises `HostError` where no single
    instance causes the failure.
    """
    users_failures = 0
    if crowd := _crowd(trace_plan.plans):
        planned, trace_plan = _left(planned, trace_plan, crowd)
    while True:
        try:
            return trace(trace_plan, planned)
        except (AttachError, RefusedError) as error:
            plans = trace_plan.plans
            failures = error.failures if isinstance(error, RefusedError) else dropped(error, plans)
            if not any(instance.pid in failures for instance, _ in plans):
                raise
        users_failures += any(one.pid in failures and not one.binary.of_root for one, _ in plans)
        failures = {**_skipped(plans, failures, users_failures), **failures}
        planned, trace_plan = _left(planned, trace_plan, failures)
        if not trace_plan.plans:
            return nothing_left(planned)


def _left(
    planned: Sequence[Planned], trace_plan: _TracePlan, failures: Mapping[int, Failure]
) -> tuple[Sequence[Planned], _TracePlan]:
    plans = [(instance, plan) for instance, plan in trace_plan.plans if instance.pid not in failures]
    return without(planned, failures), replace(trace_plan, plans=plans)  # type: ignore[type-var]


def _crowd(plans: Sequence[tuple[Instance, ProbePlan]]) -> dict[int, Failure]:
    """Return the instances of too many users' binaries beside root's, by pid, with the reason."""
    binaries = {one.binary.inode: one.binary for one, _ in plans}
    users = [each for each in binaries.values() if not each.of_root]
    if len(users) == len(binaries):
        return {}
    number: Counter[int | None] = Counter()
    ranked: list[tuple[int, int, str]] = []
    for each in users:
        ranked.append((number[each.owner], len(ranked), each.inode))
        number[each.owner] += 1
    late = {inode for _, _, inode in sorted(ranked)[_USERS_BINARIES:]}
    why = f"a trace takes at most {_USERS_BINARIES} such executables beside root's"
    return {one.pid: _skip(one, why) for one, _ in plans if one.binary.inode in late}


def _skip(instance: Instance, why: str) -> Failure:
    path = instance.exe.decode("utf-8", "backslashreplace")
    return Failure(
        _SKIPPED,
        f"{path} (pid {instance.pid}) is not traced, for it does not belong to root and {why}: select it alone "
        "(`fleettrace_instances`), or `chown root` it",
    )


def _skipped(
    plans: Sequence[tuple[Instance, ProbePlan]], failures: Mapping[int, Failure], users_failures: int
) -> dict[int, Failure]:
    """Return the instances of users' binaries that get no other attempt, by pid, with the reason."""
    left = [instance for instance, _ in plans if instance.pid not in failures]
    if users_failures < (_USERS_FAILURES if any(each.binary.of_root for each in left) else _FAILURES):
        return {}
    why = f"{users_failures} executables like it could not be attached"
    return {each.pid: _skip(each, why) for each in left if not each.binary.of_root}


def without(planned: Sequence[Planned], failures: Mapping[int, Failure]) -> list[Planned]:
    """Return `planned` with a failure in the place of the plan of each instance in `failures`, which is by pid."""
    return [
        replace(each, plan=None, failure=failures[each.instance.pid]) if each.instance.pid in failures else each
        for each in planned
    ]
