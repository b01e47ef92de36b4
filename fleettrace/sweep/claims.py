"""Decide which host of a run counts a process that several inventory names lead to: the first one that finds it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fleettrace.node.model import Discovery, Instance
from fleettrace.summary.run import Warn

__all__ = ["Claims"]


class _Identity(NamedTuple):
    """Identifies a process among those of all machines."""

    boot: str
    namespace: str
    """The PID namespace of `pid`."""
    pid: int
    start: int


@dataclass(slots=True)
class Claims:
    """The processes that the hosts of one run have found. One object serves many threads."""

    _owners: dict[_Identity, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def first(
        self, host: str, discovery: Discovery, selects: Callable[[Instance], bool]
    ) -> tuple[Discovery, list[Warn]]:
        """Claim the selected processes for `host`. Return the discovery without the processes that another host has
        claimed, and a warning that names the hosts."""
        if not discovery.facts.boot_id:
            return discovery, []
        others: dict[int, str] = {}
        with self._lock:
            for instance in filter(selects, discovery.instances):
                owner = self._owners.setdefault(_identity(discovery, instance), host)
                if owner != host:
                    others[instance.pid] = owner
        if not others:
            return discovery, []
        instances = tuple(instance for instance in discovery.instances if instance.pid not in others)
        return replace(discovery, instances=instances), [_warning(host, others)]


def _identity(discovery: Discovery, instance: Instance) -> _Identity:
    return _Identity(discovery.facts.boot_id, discovery.facts.pid_namespace, instance.pid, instance.start)


def _warning(host: str, others: dict[int, str]) -> Warn:
    by_owner: dict[str, list[int]] = {}
    for pid, owner in others.items():
        by_owner.setdefault(owner, []).append(pid)
    names = "; ".join(
        f"{'pid' if len(pids) == 1 else 'pids'} {', '.join(map(str, pids))} as {owner}"
        for owner, pids in by_owner.items()
    )
    return Warn(
        "same-process",
        f"the inventory has another name for this machine, under which its memcached is counted once ({names}); remove "
        "one of the names, or select different instances (`fleettrace_instances`)",
        host,
    )
