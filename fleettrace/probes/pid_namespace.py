"""Adapt a program to a node with the /proc of a nested PID namespace, so that it recognizes the processes.

On such a node bpftrace's `pid` is the number in the initial namespace, and the node's scripts see another number
(bpftrace 0.17 and 0.23). Both sides see when a process started and in which PID namespace it runs. Together these name
one process, because all processes of that namespace are in the node's /proc. The program reads both from the
task_struct, which needs the kernel's BTF. `pid(curr_ns)` of newer releases does not help: it fails for processes of a
namespace further inside, and returned -22 in pods (bpftrace/bpftrace#4384).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ANY_PROCESS", "Process", "in_namespace"]

ANY_PROCESS = "1"
"""The filter that accepts every process; the probe's body then recognizes the traced ones."""
_BODY = re.compile(r"^\{\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
_PID = re.compile(r"(?<![\w$@.>])pid\b(?!\w)")
_TICK_NS = 10_000_000
"""A clock tick of /proc/PID/stat (USER_HZ is 100 on every architecture that bpftrace runs on)."""


@dataclass(frozen=True, slots=True)
class Process:
    """One traced process."""

    pid: int
    """The number that the node's /proc shows."""
    start: int
    """When it started, in clock ticks since boot: task_struct.start_boottime (Linux 5.5 and later)."""
    namespace: int
    """The inode number of its PID namespace."""


def in_namespace(probes: str, processes: Sequence[Process]) -> str:
    """Return the text of `probes` with every `pid` replaced by the number in the node's /proc.

    The resulting probes do nothing for other processes than `processes`.
    """
    lines = [
        "\t$task = (struct task_struct *)curtask;",
        f"\t$started = (uint64)$task->group_leader->start_boottime / {_TICK_NS};",
        "\t$space = (uint64)$task->nsproxy->pid_ns_for_children->ns.inum;",
        "\t$pid = (uint64)0;",
        *(
            f"\tif ($started == {one.start} && $space == {one.namespace}) {{ $pid = (uint64){one.pid}; }}"
            for one in processes
        ),
        "\tif ($pid > 0) {",
    ]
    head = "\n".join(lines)

    def body(found: re.Match[str]) -> str:
        return f"{{\n{head}\n{_PID.sub('$pid', found[1])}\t}}\n}}"

    return _BODY.sub(body, probes)
