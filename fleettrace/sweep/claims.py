"""Decide which host of a run counts a process that several inventory names lead to: the first one that finds it.

Boot id, pid and start time are visible to every user and container of a machine, so a hostile host can report those of
another host's process. A process is counted once only if both hosts also report the same addresses of its stack, heap
and code: they are random (some 70 bits with PIE, 44 without), and only who may trace the process can read them. Nothing
is left on the machine for that, and the two logins need not be open at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fleettrace.node.model import Discovery, Instance
from fleettrace.summary.run import Warn

__all__ = ["UNPROVEN", "Claims"]

UNPROVEN = "process-unproven"
"""The code of a host that reports a process of another host without proof that it is the same machine."""


class _Identity(NamedTuple):
    """Identifies a process among those of all machines that report the truth."""

    boot: str
    namespace: str
    """The PID namespace of `pid`."""
    pid: int
    start: int


@dataclass(slots=True)
class Claims:
    """The processes that the hosts of one run have found. One object serves many threads."""

    _owners: dict[_Identity, dict[str, str]] = field(default_factory=dict)
    """The hosts that count a process, in the order in which they found it, and what each reports as proof."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def first(
        self, host: str, discovery: Discovery, selects: Callable[[Instance], bool]
    ) -> tuple[Discovery, list[Warn]]:
        """Claim the selected processes for `host`. Return the discovery without the processes that another host has
        provably claimed, and warnings that name the hosts. With the warning `UNPROVEN`, the counts of `host` may be
        those of another host too."""
        if not discovery.facts.boot_id:
            return discovery, []
        same: dict[int, str] = {}
        unproven: dict[int, str] = {}
        with self._lock:
            for instance in filter(selects, discovery.instances):
                owners = self._owners.setdefault(_identity(discovery, instance), {})
                proof = instance.layout if discovery.facts.randomized else ""
                earlier = [owner for owner in owners if owner != host] if host not in owners else []
                if proof and (owner := next((each for each in earlier if owners[each] == proof), None)):
                    same[instance.pid] = owner
                    continue
                if earlier:
                    unproven[instance.pid] = earlier[0]
                owners[host] = proof
        instances = tuple(instance for instance in discovery.instances if instance.pid not in same)
        warnings = [Warn("same-process", _SAME.format(_names(same)), host)] if same else []
        if unproven:
            warnings.append(Warn(UNPROVEN, _UNPROVEN.format(_names(unproven)), host))
        return replace(discovery, instances=instances) if same else discovery, warnings


_SAME = (
    "the inventory has another name for this machine, under which its memcached is counted once ({}); remove "
    "one of the names, or select different instances (`fleettrace_instances`)"
)
_UNPROVEN = (
    "the host reports the boot id, pid and start time of a process of another host ({}), but does not prove that it is "
    "the same machine, so both are counted and its counts certify nothing; remove one of the names if both lead to one "
    "machine"
)


def _identity(discovery: Discovery, instance: Instance) -> _Identity:
    return _Identity(discovery.facts.boot_id, discovery.facts.pid_namespace, instance.pid, instance.start)


def _names(others: dict[int, str]) -> str:
    by_owner: dict[str, list[int]] = {}
    for pid, owner in others.items():
        by_owner.setdefault(owner, []).append(pid)
    return "; ".join(
        f"{'pid' if len(pids) == 1 else 'pids'} {', '.join(map(str, pids))} as {owner}"
        for owner, pids in by_owner.items()
    )
