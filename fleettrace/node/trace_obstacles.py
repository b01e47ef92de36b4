"""Find the obstacles to a trace on a node, each with its cure. Pure: facts in, obstacles out."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from fleettrace.errors import HostError, HostState
from fleettrace.node.model import Bpftrace, NodeFacts
from fleettrace.text_format import plural

__all__ = ["PREEMPTIBLE", "PREEMPTION_UNKNOWN", "check_visible", "obstacles", "unfound", "unreadable"]

PREEMPTIBLE = "preemptible-kernel"
"""The error code of a node with a preemptible kernel, on which counts may be wrong."""
PREEMPTION_UNKNOWN = "preemption-unknown"
"""The error code of a node with a kernel that may be preemptible."""
_SYS_PTRACE, _SYS_ADMIN, _PERFMON, _BPF = 19, 21, 38, 39
"""Bits of include/uapi/linux/capability.h."""
_SPLIT_CAPABILITIES = (5, 8)
"""The kernel that split CAP_PERFMON and CAP_BPF from CAP_SYS_ADMIN."""
_UPROBES_NEED_ADMIN = (6, 16)
"""The kernel from which a uprobe needs CAP_SYS_ADMIN again (commit ba677dbe77af, "perf: Revert to requiring
CAP_SYS_ADMIN for uprobes"); older ones may have it from a stable update."""
_PRIVATE_STACKS = (6, 13)
_COMPILES_TO_DEV_FD = Bpftrace(0, 24, 0)
"""bpftrace compiles its standard library into /dev/fd/N from 0.24 on (its commit c47425e91)."""
_LISTS_FUNCTIONS = Bpftrace(0, 24, 0)
"""0.27.1 exits without tracefs; 0.23.2 and 0.17.0 attach uprobes without it (tested)."""
_OWN_TYPES = Bpftrace(0, 23, 0)
"""0.17 on 5.10 needs linux/types.h; 0.23.2 does not (tested)."""

_OF_BPFTRACE = ("no-capability", "no-dev-fd", "no-tracefs", "no-kernel-types")
"""The obstacles for bpftrace itself, which may not apply where its command runs it."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One obstacle. `fatal`: nothing can be traced with it. `at_run`: a run warns of it too, not only `check`."""

    code: str
    message: str
    fatal: bool = False
    at_run: bool = False


def obstacles(facts: NodeFacts) -> list[Obstacle]:
    """Return the obstacles for bpftrace on the node, fatal ones first."""
    found = [
        *_capability(facts),
        *_dev_fd(facts),
        *_tracefs(facts),
        *_types(facts),
        *_unlisted(facts),
        *_preemptible(facts),
    ]
    if not facts.direct_bpftrace:
        found = [_elsewhere(obstacle) for obstacle in found]
    return sorted(found, key=lambda obstacle: not obstacle.fatal)


def _elsewhere(obstacle: Obstacle) -> Obstacle:
    """Return the obstacle for a wrapper that runs bpftrace, perhaps in a container that has what the session lacks."""
    if obstacle.code not in _OF_BPFTRACE:
        return obstacle
    message = f"{obstacle.message} (not needed where the bpftrace command enters a container that has it)"
    return replace(obstacle, message=message, fatal=False)


def unreadable(facts: NodeFacts) -> HostError | None:
    """Return the error for processes named memcached that the session cannot read; None without any."""
    if not facts.unreadable or facts.uid != 0:
        return None
    pids = ", ".join(map(str, facts.unreadable[:10])) + (", ..." if len(facts.unreadable) > 10 else "")
    verb = "is" if len(facts.unreadable) == 1 else "are"
    return HostError(
        HostState.UNSUPPORTED,
        "memcached-unreadable",
        f"there {verb} {plural(len(facts.unreadable), 'process')} named memcached (pid {pids}) with a /proc/PID/exe "
        "that the session may not read, not traced: log in as root with full capabilities (CAP_SYS_PTRACE; kubectl "
        "debug --profile=sysadmin), or start it from a file system that lets root read (not NFS with root_squash or "
        "FUSE without allow_other)",
    )


def unfound(facts: NodeFacts, selected: Collection[int], found: Collection[int]) -> HostError | None:
    """Return the error for `selected` ports with a listening socket that are none of the ports `found` on instances, or
    for a memcached that the dynamic loader runs, which may have any port; None where there is neither."""
    loaded = ", ".join(map(str, facts.loaded[:10]))
    by_loader = (
        f"the dynamic loader runs memcached there (pid {loaded}), which cannot be traced: start memcached directly"
    )
    ports = sorted((set(selected) & facts.listening) - set(found))
    if ports:
        some = f"port {ports[0]}" if len(ports) == 1 else f"ports {', '.join(map(str, ports[:10]))}"
        message = (
            f"{some} of `fleettrace_instances` accepts connections, and no memcached process was found for it: "
            f"{by_loader if loaded else 'check what listens there (`ss -ltnp`), or select other ports'}"
        )
        return HostError(HostState.UNSUPPORTED, "port-without-memcached", message)
    if facts.loaded and not selected:
        return HostError(HostState.UNSUPPORTED, "memcached-by-loader", by_loader)
    return None


def check_visible(facts: NodeFacts) -> None:
    """Raise `HostError` if a memcached process that the session cannot read runs, or may run."""
    if (error := unreadable(facts)) is not None:
        raise error
    for obstacle in _unlisted(facts):
        raise HostError(HostState.UNSUPPORTED, obstacle.code, obstacle.message)


def _release(facts: NodeFacts) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", facts.kernel)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _capability(facts: NodeFacts) -> list[Obstacle]:
    """Return the obstacle of missing capabilities. With them perf_event_paranoid does not restrict root."""
    held = facts.capabilities
    if held is None or held >> _SYS_ADMIN & 1:
        return []
    parts = {"CAP_PERFMON": held >> _PERFMON & 1, "CAP_BPF": held >> _BPF & 1}
    missing = [name for name, bit in parts.items() if not bit]
    split = _release(facts) >= _SPLIT_CAPABILITIES
    if split and not missing:
        certain = _release(facts) >= _UPROBES_NEED_ADMIN
        why = "a uprobe needs CAP_SYS_ADMIN" + ("" if certain else " in many kernels") + " and the session lacks it"
    else:
        certain = True
        paranoid = facts.perf_event_paranoid
        bound = "CAP_PERFMON" in missing and paranoid is not None and paranoid > 0
        why = f"root lacks {', '.join(['CAP_SYS_ADMIN', *(missing if split else [])])} there"
        why += f", and kernel.perf_event_paranoid is {paranoid}" if bound else ""
    cure = "log in as a user with full root capabilities (of a container: run it with --privileged)"
    return [Obstacle("no-capability", f"bpftrace cannot attach probes: {why}; {cure}", certain)]


def _dev_fd(facts: NodeFacts) -> list[Obstacle]:
    if facts.dev_fd or facts.bpftrace is None or facts.bpftrace < _COMPILES_TO_DEV_FD:
        return []
    message = (
        f"bpftrace {facts.bpftrace} cannot compile a program: it writes to /dev/fd, which is not there; "
        "create it (`ln -s /proc/self/fd /dev/fd`)"
    )
    return [Obstacle("no-dev-fd", message, fatal=True)]


def _tracefs(facts: NodeFacts) -> list[Obstacle]:
    """Return the obstacle of a missing tracefs. The trace mounts it for itself where unshare(1) works."""
    if facts.tracefs or (facts.tracefs_mountable and facts.unshare):
        return []
    why = "is not mounted" if facts.tracefs_mountable else "is missing from the kernel (CONFIG_FTRACE)"
    cure = (
        "mount it (`mount -t tracefs tracefs /sys/kernel/tracing`)"
        if facts.tracefs_mountable
        else "boot another kernel"
    )
    needed = facts.bpftrace is not None and facts.bpftrace >= _LISTS_FUNCTIONS
    without = f"bpftrace {facts.bpftrace} does not start" if needed else "the probe kind `syscall` cannot be traced"
    message = f"tracefs {why} and {without} without it: {cure}"
    return [Obstacle("no-tracefs", message, needed)]


def _types(facts: NodeFacts) -> list[Obstacle]:
    if facts.btf or facts.headers or (facts.bpftrace is not None and facts.bpftrace >= _OWN_TYPES):
        return []
    message = (
        f"the kernel has no BTF and no kernel headers are installed: bpftrace {facts.bpftrace} may stop at "
        f"'linux/types.h' file not found; install the headers of {facts.kernel} (`linux-headers-{facts.kernel}`, "
        f"`kernel-devel`), or bpftrace {_OWN_TYPES.major}.{_OWN_TYPES.minor} or later"
    )
    return [Obstacle("no-kernel-types", message)]


def _unlisted(facts: NodeFacts) -> list[Obstacle]:
    """Return the obstacle for root without CAP_SYS_PTRACE, which cannot read, or even list, other users' processes."""
    if facts.uid != 0 or facts.capabilities is None or facts.capabilities >> _SYS_PTRACE & 1:
        return []
    how = f", and /proc is mounted with hidepid={facts.hidepid}" if facts.hidepid else ""
    message = (
        f"memcached may run there unnoticed: the session may not read other users' processes (no CAP_SYS_PTRACE){how}; "
        "log in as root with full capabilities" + (" or remount /proc with hidepid=0" if facts.hidepid else "")
    )
    return [Obstacle("processes-hidden", message, at_run=True)]


def _preemptible(facts: NodeFacts) -> list[Obstacle]:
    """Return the obstacle of a preemptible kernel, on which traces under load were wrong and a kernel crashed.

    One traced thread interrupts another inside the probe's program, and both use the same per-CPU memory: bpftrace's
    scratch buffers and, from 6.13 on, private stacks (open-telemetry/opentelemetry-ebpf-instrumentation#3056,
    elastic/quark#305). A length that the verifier has checked can change there: kernel 7.3.4 crashed in a memset of as
    many bytes as four bytes of a key mean (docs/machines.md).
    """
    if facts.preemption in ("none", "voluntary"):
        return []
    cure = "boot with `preempt=voluntary` where the kernel has that, or compare a few keys with `--probe watch`"
    private_stacks = _release(facts) >= _PRIVATE_STACKS
    if not facts.preemption:
        if not private_stacks:
            return []
        message = (
            f"kernel {facts.kernel} may be preemptible (/sys/kernel/debug/sched/preempt cannot be read), and tracing "
            "under load has crashed such a kernel: mount debugfs, use `--probe watch`, or take the risk with "
            "`--allow-preemptible`, which certifies nothing"
        )
        return [Obstacle(PREEMPTION_UNKNOWN, message, fatal=True, at_run=True)]
    if private_stacks:
        message = (
            f"kernel {facts.kernel} is preemptible ({facts.preemption}), and tracing under load has crashed such a "
            f"kernel: {cure}, or take the risk with `--allow-preemptible`, which certifies nothing"
        )
        return [Obstacle(PREEMPTIBLE, message, fatal=True, at_run=True)]
    if facts.preemption == "rt":
        cure = "boot a kernel without PREEMPT_RT, or compare a few keys with `--probe watch`"
    message = (
        f"kernel {facts.kernel} is preemptible ({facts.preemption}): a trace under load mixed up keys there, "
        f"so its counts are not exact and certify nothing; {cure}"
    )
    return [Obstacle(PREEMPTIBLE, message, at_run=True)]
