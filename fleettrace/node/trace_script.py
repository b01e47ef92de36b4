"""Build the script that runs a trace on a node: the bpftrace program, its bounds, and what the node compares and
logs."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from fleettrace.node.binding import target_lines
from fleettrace.node.discovery import set_arguments
from fleettrace.node.model import Instance
from fleettrace.node.namespace import namespaced
from fleettrace.node.plausible import ENDING_S, STARTUP_S
from fleettrace.node.request_rates import assignments
from fleettrace.node.scripts import script_text
from fleettrace.probes.model import KeyLayout, ProbeKind, ProbePlan, TraceSettings
from fleettrace.probes.program import ProbeTarget, program, unsafe

__all__ = ["TraceScript", "log_entry", "probe_targets", "user_and_host"]

_DENSE_S = 0.25
"""Seconds between samples at the beginning and at the end of the window."""
_UNSAFE = re.compile(r"[^A-Za-z0-9@._:-]")
_MOST_CHARS = 64
_MOST_PIDS = 50
"""syslog(3) stores 1,024 bytes of a message in its oldest form."""


def probe_targets(plans: Sequence[tuple[Instance, ProbePlan]]) -> list[ProbeTarget]:
    """Return one target for each real inode and probe kind, because a uprobe fires for every process of the inode.

    A proxy is traced by another kind than a server of the same binary.
    """
    by_inode: dict[tuple[str, ProbeKind], tuple[ProbePlan, list[int]]] = {}
    for instance, plan in plans:
        by_inode.setdefault((instance.binary.inode, plan.probe_kind), (plan, []))[1].append(instance.pid)
    return [ProbeTarget(plan, tuple(pids), namespaced(pids, plans)) for plan, pids in by_inode.values()]


@dataclass(frozen=True, slots=True)
class TraceScript:
    """The script of one trace."""

    bpftrace: Sequence[str]
    """The node's bpftrace command."""
    plans: Sequence[tuple[Instance, ProbePlan]]
    layout: KeyLayout
    settings: TraceSettings
    nonce: str
    """The secret in every name and mark that the program prints."""
    endpoints: str = ""
    """The processes to sample during the trace, from `endpoint_lines`."""
    begin_ns: int | None = None
    """Counting does not begin before this time of the node's monotonic clock. The trace is then a detached one."""
    lead_s: float = 0.0
    """Seconds before `begin_ns` at which the script starts."""
    startup_s: float = STARTUP_S
    """The most seconds from then until the counting begins."""
    run: str = ""
    """The run's id, for the node's log."""

    @property
    def seconds(self) -> float:
        """The bound of the trace on the node, in seconds."""
        return self.lead_s + self.startup_s + self.settings.duration_s + ENDING_S

    @property
    def program(self) -> str:
        """The bpftrace program's text."""
        targets, detached = probe_targets(self.plans), self.begin_ns is not None
        return program(targets, self.layout, self.settings, self.nonce, begin_ns=self.begin_ns, marked=detached)

    def text(self) -> bytes:
        """Return the script's text."""
        text, targets = self.program, probe_targets(self.plans)
        by_pid = {instance.pid: (instance, plan) for instance, plan in self.plans}
        bpftrace = [*self.bpftrace, "--unsafe"] if unsafe(targets, text) else self.bpftrace
        variables = {
            "program": text,
            "seconds": f"{self.seconds:.0f}",
            "pids": " ".join(map(str, by_pid)),
            "strings": str(self.layout.strlen),
            "entries": str(self.settings.entries),
            "sites": target_lines([by_pid[pid] for pid in target.pids] for target in targets),
            "guard_pl": script_text("guard.pl"),
            "detached": "no" if self.begin_ns is None else "yes",
            "logged": log_entry(self.run, user_and_host(), by_pid),
        }
        own = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
        steps = script_text("input.sh", "identity.sh", "abandoned.sh", "binding.sh", "definitions.sh", "trace.sh")
        return (set_arguments(bpftrace) + own + assignments(self._timing, self.endpoints) + steps).encode()

    @property
    def _timing(self) -> str:
        """How often to sample (see stats.sh): some sixty times, most of them where the window begins and ends."""
        sparse = max(1.0, self.settings.duration_s / 36)
        return f"{_DENSE_S} {sparse:.2f} {sparse * 100:.0f} {(self.lead_s + self.settings.duration_s) * 100:.0f}"


def log_entry(run: str, user: str, pids: Iterable[int]) -> str:
    """Return the common part of a trace's two lines in the node's own log: who traces which processes in which run.

    `user` is the controller's own claim; the log of sudo or sshd has the login. The result is printable ASCII of less
    than 800 characters.
    """
    every = sorted(pids)
    named = " ".join(map(str, every[:_MOST_PIDS]))
    more = f" and {len(every) - _MOST_PIDS} more" if len(every) > _MOST_PIDS else ""
    return f"run {_clean(run)} by {_clean(user)}, memcached pids {named}{more}"


@cache
def user_and_host() -> str:
    """Return `user@host` of this controller, with the user's number for a user without a name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _clean(text: str) -> str:
    return _UNSAFE.sub("?", text)[:_MOST_CHARS] or "?"
