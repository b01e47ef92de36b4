"""Plan the probe of each instance on a node, or report why there is none."""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis
from fleettrace.binary.elf import BinaryError
from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog, BinaryChangedError
from fleettrace.node.binding import BINARY_CHANGED
from fleettrace.node.model import Bpftrace, Discovery, Instance, NodeFacts
from fleettrace.node.trace_obstacles import PREEMPTIBLE, PREEMPTION_UNKNOWN, check_visible, obstacles
from fleettrace.probes.model import ProbeKind, ProbeOptions, ProbePlan, UnsupportedError
from fleettrace.probes.optimized_uprobes import choose_for_kernel
from fleettrace.probes.selection import syscall_plan
from fleettrace.summary.run import Failure
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Limits

__all__ = ["Planned", "check_able", "check_empty", "fetch_binary", "plan_instances"]

_PROXY = "not item, usdt or command: in proxy mode (proxy_config) memcached forwards requests and looks no keys up"
_USERS_S = 10.0
"""Seconds after which no further binary of a user other than root is fetched and analysed; one analysis takes at most
4 s, and 0.5 s for memcached."""
_HOST_S = 60.0
"""The same for all binaries of a host."""
_OLDEST = Bpftrace(0, 11, 0)
"""The oldest release with text output that has every key, tested with its 0.11.3."""
_MAX_BINARY = 64 << 20
"""Bytes of the largest binary to fetch: twenty times a statically linked memcached with debug information."""
_FETCH_LIMITS = Limits(seconds=60, max_bytes=_MAX_BINARY)
_FETCH = """
exe=/proc/{pid}/exe
if command -v gzip >/dev/null 2>&1; then printf 'gzip\\n'; gzip -1 -c <"$exe"; else printf 'plain\\n'; cat <"$exe"; fi
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """An instance and its plan, or the reason why it has none: exactly one of `plan` and `failure` is set."""

    instance: Instance
    plan: ProbePlan | None = None
    failure: Failure | None = None
    version: str | None = None
    build_id: str | None = None


def check_able(found: Discovery, *, preemptible: bool = False) -> None:
    """Raise `HostError` if bpftrace can trace no process on the node.

    `preemptible`: accept a preemptible kernel, which a trace may crash and on which counts may be wrong.
    """
    facts = found.facts
    _check_root(facts)
    if facts.bpftrace is None:
        output = f" ({facts.bpftrace_output})" if facts.bpftrace_output else ""
        raise HostError(
            HostState.NO_BPFTRACE,
            "no-bpftrace",
            f"bpftrace does not run there{output}: install the package `bpftrace`, "
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
        if obstacle.fatal and not (preemptible and obstacle.code in (PREEMPTIBLE, PREEMPTION_UNKNOWN)):
            raise HostError(HostState.UNSUPPORTED, obstacle.code, obstacle.message)


def check_empty(facts: NodeFacts) -> None:
    """Raise `HostError` if the session found no memcached but cannot see every process."""
    _check_root(facts)
    check_visible(facts)


def _check_root(facts: NodeFacts) -> None:
    if facts.uid != 0:
        raise HostError(
            HostState.BECOME_FAILED,
            "not-root",
            "bpftrace needs root there: set `ansible_become: true` (and no `ansible_become_user` but root), or log in "
            "as root (`ansible_user: root`)",
        )


def plan_instances(
    connection: Connection,
    catalog: BinaryCatalog,
    facts: NodeFacts,
    instances: Sequence[Instance],
    options: ProbeOptions,
    refused: Collection[ProbeKind] = (),
) -> list[Planned]:
    """Return a plan for each instance, after one analysis of each real inode. Raises `HostError` for a lost connection.

    `refused` are the probe kinds with programs that the node's kernel does not load. Binaries of root come first: a
    user who runs many large ones takes only `_USERS_S` from the others of the host.
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
    return [_planned(instance, by_inode[instance.binary.inode], facts, options, refused) for instance in instances]


def _too_late(instance: Instance) -> Failure:
    return Failure(
        "binary-unreadable",
        f"the binary of pid {instance.pid} was not read: the host's other binaries took too long; select fewer "
        "instances (`fleettrace_instances`), or run again: the analyses so far are stored",
    )


def _analysis(connection: Connection, catalog: BinaryCatalog, instance: Instance) -> BinaryAnalysis | Failure:
    try:
        return catalog.get(instance.binary.sha256, lambda: fetch_binary(connection, instance))
    except BinaryChangedError as error:
        return Failure(
            BINARY_CHANGED, f"the binary of pid {instance.pid} changed while it was read: {error}; run again"
        )
    except BinaryError as error:
        return Failure("binary-unreadable", f"its binary cannot be analysed: {error}")
    except HostError as error:
        if error.code != "binary-unreadable":
            raise
        return Failure(error.code, error.message)


def _planned(
    instance: Instance,
    analysis: BinaryAnalysis | Failure,
    facts: NodeFacts,
    options: ProbeOptions,
    refused: Collection[ProbeKind],
) -> Planned:
    if (
        instance.proxy
        and options.script is None
        and options.probe_kind in (None, ProbeKind.SYSCALL)
        and ProbeKind.SYSCALL not in refused
    ):
        version, build_id = (None, None) if isinstance(analysis, Failure) else (analysis.version, analysis.build_id)
        return Planned(instance, syscall_plan(options, _PROXY), version=version, build_id=build_id)
    if isinstance(analysis, Failure):
        if (
            analysis.code != BINARY_CHANGED
            and options.script is None
            and options.probe_kind in (None, ProbeKind.SYSCALL)
        ):
            return Planned(instance, syscall_plan(options, f"not item, usdt or command: {analysis.message}"))
        return Planned(instance, failure=analysis)
    try:
        overlay_works = facts.unshare and not facts.overlay_unseen
        plan = choose_for_kernel(
            analysis,
            options,
            overlay_works=overlay_works,
            kernel=facts.kernel,
            arch=facts.arch,
            refused=refused,
            shadow_stack=instance.shadow_stack,
        )
        failure = None
    except UnsupportedError as error:
        plan, failure = None, Failure("unsupported", f"no way to trace this memcached: {error}")
    return Planned(instance, plan, failure, analysis.version, analysis.build_id)


def fetch_binary(connection: Connection, instance: Instance) -> bytes:
    """Return the bytes of the binary that `instance` runs, also of a deleted one. Raises `HostError`."""
    output = run_script(connection, _FETCH.format(pid=int(instance.pid)).encode(), _FETCH_LIMITS, keep_shell=True)
    form, _, body = output.out.partition(b"\n")
    data = _unpacked(body) if form == b"gzip" else body
    if output.exit_status != 0 or len(data) != instance.binary.size:
        raise HostError(
            HostState.TRACE_FAILED,
            "binary-unreadable",
            f"/proc/{instance.pid}/exe could not be read completely ({len(data)} of {instance.binary.size} bytes): "
            f"did the process end? {output.err.decode('utf-8', 'replace').strip()[:200]!r}",
        )
    return data


def _unpacked(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        return inflater.decompress(body, _MAX_BINARY)
    except zlib.error:
        return b""
