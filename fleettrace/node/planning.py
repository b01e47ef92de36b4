"""From the instances found on a node to a probe plan for each, or why there is none."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis
from fleettrace.binary.elf import BinaryError
from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog, BinaryChangedError
from fleettrace.node.binding import BINARY_CHANGED
from fleettrace.node.fetch import fetch_binary
from fleettrace.node.model import Bpftrace, Discovery, Instance, NodeFacts
from fleettrace.node.trace_obstacles import PREEMPTIBLE, check_visible, obstacles
from fleettrace.probes.model import ProbeKind, ProbeOptions, ProbePlan
from fleettrace.probes.optimized_uprobes import choose_for_kernel
from fleettrace.probes.selection import UnsupportedError, syscall_plan
from fleettrace.summary.run import Failure
from fleettrace.transport.interface import Connection

__all__ = ["Planned", "check_able", "check_empty", "plan_instances"]

_PROXY = "not item, usdt or command: in proxy mode (proxy_config) memcached forwards requests without looking keys up"
_USERS_S = 10.0
"""Seconds after which no other binary that does not belong to root is fetched and analysed; one analysis takes 4 s at the
most, and 0.5 s where it is memcached."""
_HOST_S = 60.0
"""The same for all binaries of a host."""
_OLDEST = Bpftrace(0, 11, 0)
"""The oldest release whose text output was seen to carry every key (0.11.3 of that series)."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An instance, and how it is traced: exactly one of `plan` and `failure` is set."""

    instance: Instance
    plan: ProbePlan | None = None
    failure: Failure | None = None
    version: str | None = None
    build_id: str | None = None


def check_able(found: Discovery, *, preemptible: bool = False) -> None:
    """Raise `HostError` when nothing can be traced on the node, whatever runs there. With `preemptible`, a kernel that
    may mix up what is counted is allowed."""
    facts = found.facts
    _check_root(facts)
    if facts.bpftrace is None:
        said = f" ({facts.bpftrace_said})" if facts.bpftrace_said else ""
        raise HostError(
            HostState.NO_BPFTRACE,
            "no-bpftrace",
            f"bpftrace does not run there{said}: install the package `bpftrace`, "
            "or set `fleettrace_bpftrace` to the command that runs it (`--probe watch` does without, approximately)",
        )
    if facts.bpftrace < _OLDEST:
        raise HostError(
            HostState.NO_BPFTRACE,
            "bpftrace-too-old",
            f"its bpftrace is {facts.bpftrace}, and {_OLDEST} is the oldest that can run the programs: upgrade the "
            "package `bpftrace`, or set `fleettrace_bpftrace` to the command that runs a newer one",
        )
    if facts.lockdown == "confidentiality":
        raise HostError(
            HostState.UNSUPPORTED,
            "lockdown",
            "its kernel is in confidentiality lockdown: no BPF program may read memory: boot with `lockdown=integrity`",
        )
    for obstacle in obstacles(facts):
        if obstacle.fatal and not (preemptible and obstacle.code == PREEMPTIBLE):
            raise HostError(HostState.UNSUPPORTED, obstacle.code, obstacle.message)


def check_empty(facts: NodeFacts) -> None:
    """Raise `HostError` when the session saw no memcached but cannot see every process."""
    _check_root(facts)
    check_visible(facts)


def _check_root(facts: NodeFacts) -> None:
    if facts.uid != 0:
        raise HostError(
            HostState.BECOME_FAILED,
            "not-root",
            "bpftrace needs root there: set `ansible_become: true`, or log in as root (`ansible_user: root`)",
        )


def plan_instances(
    connection: Connection,
    catalog: BinaryCatalog,
    facts: NodeFacts,
    instances: Sequence[Instance],
    wish: ProbeOptions,
    refused: Collection[ProbeKind] = (),
) -> list[Planned]:
    """A plan for each instance; every real inode is looked at once. Raises `HostError` when the connection breaks.

    `refused` are the rungs that the node's kernel is known to load no program of. Binaries of root come first: a user
    who runs many large ones takes only `_USERS_S` from the others of the host.
    """
    by_inode: dict[str, BinaryAnalysis | Failure] = {}
    began, users_began = time.monotonic(), None
    for instance in sorted(instances, key=lambda each: not each.binary.of_root):
        inode, now = instance.binary.inode, time.monotonic()
        if inode in by_inode:
            continue
        if not instance.binary.of_root and users_began is None:
            users_began = now
        late = now - began > _HOST_S or (users_began is not None and now - users_began > _USERS_S)
        by_inode[inode] = _too_late(instance) if late else _analysis(connection, catalog, instance)
    return [_planned(instance, by_inode[instance.binary.inode], facts, wish, refused) for instance in instances]


def _too_late(instance: Instance) -> Failure:
    return Failure(
        "binary-unreadable",
        f"the binary of pid {instance.pid} was not read: the host's other binaries took too long; select fewer "
        "instances (`fleettrace_instances`), or run again, for what was analysed is stored",
    )


def _analysis(connection: Connection, catalog: BinaryCatalog, instance: Instance) -> BinaryAnalysis | Failure:
    try:
        return catalog.get(instance.binary.sha256, lambda: fetch_binary(connection, instance))
    except BinaryChangedError as error:
        return Failure(
            BINARY_CHANGED, f"the binary of pid {instance.pid} changed while it was read: {error}; run again"
        )
    except BinaryError as error:
        return Failure("binary-unreadable", f"its binary is not understood: {error}")
    except HostError as error:
        if error.code != "binary-unreadable":
            raise
        return Failure(error.code, error.message)


def _planned(
    instance: Instance,
    analysis: BinaryAnalysis | Failure,
    facts: NodeFacts,
    wish: ProbeOptions,
    refused: Collection[ProbeKind],
) -> Planned:
    if (
        instance.proxy
        and wish.script is None
        and wish.probe_kind in (None, ProbeKind.SYSCALL)
        and ProbeKind.SYSCALL not in refused
    ):
        version, build_id = (None, None) if isinstance(analysis, Failure) else (analysis.version, analysis.build_id)
        return Planned(instance, syscall_plan(wish, _PROXY), version=version, build_id=build_id)
    if isinstance(analysis, Failure):
        if analysis.code != BINARY_CHANGED and wish.script is None and wish.probe_kind in (None, ProbeKind.SYSCALL):
            return Planned(instance, syscall_plan(wish, f"not item, usdt or command: {analysis.message}"))
        return Planned(instance, failure=analysis)
    try:
        overlay_works = facts.unshare and not facts.overlay_unseen
        plan = choose_for_kernel(
            analysis, wish, overlay_works=overlay_works, kernel=facts.kernel, arch=facts.arch, refused=refused
        )
        failure = None
    except UnsupportedError as error:
        plan, failure = None, Failure("unsupported", f"no way to trace this memcached: {error}")
    return Planned(instance, plan, failure, analysis.version, analysis.build_id)
