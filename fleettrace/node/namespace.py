"""Recognize a node with the /proc of a nested PID namespace, and identify its processes for bpftrace."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from fleettrace.errors import HostError, HostState
from fleettrace.node.model import Instance, NodeFacts
from fleettrace.probes.model import ProbeKind, ProbePlan
from fleettrace.probes.pid_namespace import Process

__all__ = ["PID_NAMESPACE", "check_namespace", "namespaced", "nested", "number_of", "unsupported_there"]

PID_NAMESPACE = "pid-namespace"
"""The error code of a host where bpftrace cannot recognize processes because of its PID namespace."""
_INITIAL = 0xEFFFFFFC
"""The inode number of the initial PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h)."""
_LINK = re.compile(rb"pid:\[(\d{1,10})\]")
_CURE = (
    "run it with the host's PID namespace (docker run --pid=host, hostPID: true, kubectl debug node/NAME, the host "
    "instead of its LXC container), or use `--probe watch`"
)


def number_of(link: bytes) -> int | None:
    """Return the inode number in the output of readlink(1) for /proc/PID/ns/pid; None if it has none."""
    found = _LINK.fullmatch(link)
    return int(found[1]) if found else None


def nested(link: bytes) -> bool:
    """Return whether this is the link of another PID namespace than the initial one."""
    return number_of(link) not in (None, _INITIAL)


def namespaced(pids: Collection[int], plans: Sequence[tuple[Instance, ProbePlan]]) -> tuple[Process, ...]:
    """Return the identities of these processes in a nested namespace; empty where bpftrace uses the same numbers."""
    return tuple(
        Process(instance.pid, instance.start, instance.pid_namespace)
        for instance, _ in plans
        if instance.pid in pids and instance.pid_namespace is not None
    )


def check_namespace(facts: NodeFacts, plans: Sequence[tuple[Instance, ProbePlan]]) -> None:
    """Raise `HostError` where no program can count these processes."""
    if not facts.nested_pids:
        return
    if any(plan.probe_kind is ProbeKind.SCRIPT for _, plan in plans):
        raise _error("a program of your own (`--script`) compares bpftrace's numbers")
    if any(instance.pid_namespace is None for instance, _ in plans):
        raise _error("the namespace of a memcached could not be read")
    names = [(instance.start, instance.pid_namespace) for instance, _ in plans]
    if len(set(names)) < len(names):
        raise _error("two of its memcached processes started in the same 10 ms and cannot be distinguished")
    if not facts.btf:
        raise _error("the kernel has no BTF (/sys/kernel/btf/vmlinux), by which bpftrace could recognize them")


@contextmanager
def unsupported_there(facts: NodeFacts, codes: Collection[str]) -> Iterator[None]:
    """Replace an error with one of these codes, from a program that did not start, by that of the PID namespace."""
    try:
        yield
    except HostError as error:
        if facts.nested_pids and error.code in codes:
            raise _error(f"a program that recognizes them by the kernel's types failed ({error.message})") from error
        raise


def _error(why: str) -> HostError:
    """Return the error of a host for this reason."""
    return HostError(
        HostState.UNSUPPORTED,
        PID_NAMESPACE,
        "it is in a nested PID namespace, where bpftrace uses other process numbers and would count nothing: "
        f"{why}; {_CURE}",
    )
