"""Discover a node and its memcached processes: the script that runs there, and the parser of its report."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from fleettrace.errors import HostError, HostState
from fleettrace.node.containers import container_of, named, names_by_id
from fleettrace.node.model import Bpftrace, Discovery, Endpoint, Instance, NodeBinary, NodeFacts
from fleettrace.node.namespace import nested, number_of
from fleettrace.node.plausible import (
    MAX_CPUS,
    MAX_INSTANCES,
    MAX_INTEGER,
    MAX_PID,
    ImplausibleError,
    implausible,
    integer,
)
from fleettrace.node.records import Record, read_records
from fleettrace.node.scripts import script_text
from fleettrace.summary.run import Container
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Limits

__all__ = [
    "discover",
    "discovery_script",
    "endpoint_of",
    "parse_discovery",
    "preemption",
    "set_arguments",
]

_LIMITS = Limits(seconds=60, max_bytes=32 << 20)
"""A discovery takes a fraction of a second; on a node that swaps or has a hanging docker, half a minute."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"bpftrace v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_ENDPOINT = re.compile(r"[0-9A-Fa-f]{8}(?:[0-9A-Fa-f]{24})?:[0-9A-Fa-f]{4}")
_INODE = re.compile(rb"\d{1,20}:\d{1,20}")
_MAX_ENDPOINTS = 1024
"""Sockets that one memcached process listens on; `-l` takes a list of addresses."""
_MAX_TEXT = 256
"""Characters that are stored of a short text: a kernel's release, a user's name."""
_MAX_PATH = 4096 + len(" (deleted)")
"""PATH_MAX, and the suffix that the kernel appends."""
_MAX_CGROUP = 1 << 16
_UNREADABLE = 100
"""The most pids of unreadable processes."""


def set_arguments(arguments: Sequence[str]) -> str:
    """Return a line of sh that sets the script's arguments, each exactly as it is."""
    return f"set -- {' '.join(shlex.quote(each) for each in arguments)}\n"


def discovery_script(bpftrace: Sequence[str], scope: str) -> bytes:
    """Return the script that discovers a node. `bpftrace` is the node's command.

    `scope` is `host`, or `netns` for only the processes in the session's own network namespace.
    """
    return (
        set_arguments(bpftrace)
        + f"scope={shlex.quote(scope)}\n"
        + script_text("identity.sh", "abandoned.sh", "discover.sh")
    ).encode()


def discover(connection: Connection, bpftrace: Sequence[str], scope: str) -> Discovery:
    """Discover a node. Raises `HostError`."""
    return parse_discovery(run_script(connection, discovery_script(bpftrace, scope), _LIMITS, keep_shell=True).out)


def parse_discovery(report: bytes) -> Discovery:
    """Parse the script's report. Raises `HostError` for an incomplete or implausible report."""
    try:
        records = read_records(report)
        node: dict[str, bytes] = {}
        groups: list[dict[str, bytes]] = [node]
        for record in records:
            if record.tag in ("binary", "process"):
                groups.append({})
            (node if record.tag in ("unseen", "stuck", "loaded", "listening") else groups[-1])[record.tag] = (
                record.value
            )
        listings = [
            (record.tag.removeprefix("containers-"), _text(record))
            for record in records
            if record.tag.startswith("containers-")
        ]
        return Discovery(_facts(node), _instances(groups[1:], names_by_id(listings)))
    except ImplausibleError as error:
        raise implausible(error) from None
    except (ValueError, KeyError) as error:
        reason = (f"it has no {error}" if isinstance(error, KeyError) else str(error))[:200]
        raise HostError(
            HostState.TRACE_FAILED,
            "discovery-garbled",
            f"the discovery report of the node cannot be read ({reason}); run with -v to see it",
        ) from error


def _text(record: Record) -> str:
    return record.value.decode("utf-8", "replace")


def _facts(node: dict[str, bytes]) -> NodeFacts:
    output = node["bpftrace"].decode("utf-8", "replace").strip()
    version = _VERSION.search(output)
    lockdown = re.search(rb"\[(\w+)\]", node.get("lockdown", b""))
    return NodeFacts(
        kernel=_short(node["kernel"]),
        arch=_short(node["arch"]),
        uid=integer(node["uid"], MAX_INTEGER, "a user id"),
        bpftrace=Bpftrace(int(version[1]), int(version[2]), int(version[3] or 0)) if version else None,
        bpftrace_output=output[:200],
        lockdown=lockdown[1].decode() if lockdown else "",
        tracefs=node["tracefs"] == b"yes",
        unshare=node["unshare"] == b"yes",
        possible_cpus=_cpus(node["possible"]),
        netns=_short(node["netns"]),
        tracefs_mountable=node["tracefs"] != b"no",
        btf=node["btf"] == b"yes",
        headers=node["headers"] == b"yes",
        dev_fd=node["devfd"] == b"yes",
        capabilities=int(node["caps"][:16], 16) if node["caps"] else None,
        perf_event_paranoid=int(node["paranoid"][:4]) if node["paranoid"] else None,
        hidepid=_short(node["hidepid"]),
        preemption=preemption(*(node[tag] for tag in ("version", "preempt", "preempt-boot", "preempt-built"))),
        direct_bpftrace=node["direct"] == b"yes",
        unreadable=tuple(int(pid) for pid in re.findall(rb"\d{1,10}", node.get("unseen", b""))[:_UNREADABLE]),
        loaded=tuple(int(pid) for pid in re.findall(rb"\d{1,10}", node.get("loaded", b""))[:_UNREADABLE]),
        listening=frozenset(int(port, 16) for port in re.findall(rb"\b[0-9A-F]{4}\b", node.get("listening", b""))),
        boot_id=_short(node["boot"]),
        randomized=node.get("randomized") == b"2",
        pid_namespace=_short(node["pidns"]),
        nested_pids=nested(node["pidns"]),
        stuck=tuple(sorted({int(pid) for pid in re.findall(rb"!/proc/(\d{1,10})/exe", node.get("stuck", b""))})),
    )


def preemption(version: bytes, debugfs: bytes, boot: bytes, built: bytes) -> str:
    """Return the kernel's preemption model; empty if unknown.

    The arguments are `uname -v`, /sys/kernel/debug/sched/preempt, the command line's `preempt=` and the configuration.

    The flags in the version are those of init/Makefile: PREEMPT_RT, PREEMPT_DYNAMIC (the model is chosen at boot), and
    PREEMPT for a kernel built as fully or, from 6.13 on, lazily preemptible.
    """
    if b"PREEMPT_RT" in version:
        return "rt"
    if b"PREEMPT_DYNAMIC" not in version:
        return "full" if b"PREEMPT" in version else "none"
    current = re.search(rb"\((\w+)\)", debugfs)
    chosen = current[1] if current else boot
    if chosen in (b"none", b"voluntary", b"lazy", b"full"):
        return chosen.decode()
    models = {b"PREEMPT_NONE": "none", b"PREEMPT_VOLUNTARY": "voluntary", b"PREEMPT_LAZY": "lazy", b"PREEMPT": "full"}
    configured = set(re.findall(rb"^CONFIG_(\w+)=y$", built, re.MULTILINE))
    return next((model for option, model in models.items() if option in configured), "")


def _short(value: bytes) -> str:
    return value[:_MAX_TEXT].decode("utf-8", "replace")


def _cpus(possible: bytes) -> int:
    """Return the number of possible CPUs from a list such as `0-7,9`."""
    numbers = re.findall(rb"\d+", possible[:_MAX_CGROUP]) or [b"0"]
    return max(integer(last, MAX_CPUS - 1, "a CPU's number") + 1 for last in numbers)


def _endpoints(listens: bytes) -> list[Endpoint]:
    sockets = listens.decode("ascii").split()
    if len(sockets) > _MAX_ENDPOINTS:
        raise ImplausibleError(f"a process that listens on {len(sockets)} sockets")
    invalid = [each for each in sockets if not _ENDPOINT.fullmatch(each)]
    if invalid:
        raise ValueError(f"{invalid[0][:40]!r} is not an address")
    return [endpoint_of(each) for each in sockets]


def _instances(groups: list[dict[str, bytes]], known: dict[str, Container]) -> tuple[Instance, ...]:
    binaries: dict[bytes, NodeBinary] = {}
    instances: dict[int, Instance] = {}
    for group in groups:
        if "binary" in group:
            inode = group["binary"]
            if not _INODE.fullmatch(inode):
                raise ValueError(f"{inode[:40]!r} is not an inode")
            size = integer(group["size"], MAX_INTEGER, "a file's size")
            binaries[inode] = NodeBinary(inode.decode("ascii"), size, _sha256(group["sha256"]), _owner(group))
            continue
        if "listens" not in group:
            continue  # the process ended while it was described
        instance = _instance(group, binaries[group["inode"]], known)
        if instance.pid in instances:
            raise ImplausibleError(f"two processes with the number {instance.pid}")
        instances[instance.pid] = instance
        if len(instances) > MAX_INSTANCES:
            raise ImplausibleError(f"more than {MAX_INSTANCES} memcached processes")
    shadowed = {instance.binary.inode for instance in instances.values() if instance.shadow_stack}
    return tuple(
        replace(instances[pid], shadow_stack=instances[pid].binary.inode in shadowed) for pid in sorted(instances)
    )


def _instance(group: dict[str, bytes], binary: NodeBinary, known: dict[str, Container]) -> Instance:
    endpoints = _endpoints(group["listens"])
    return Instance(
        pid=integer(group["process"], MAX_PID, "a process id"),
        start=integer(group["start"], MAX_INTEGER, "a process's start"),
        binary=binary,
        exe=group["exe"][:_MAX_PATH],
        user=_short(group.get("user", b"")) or _short(group.get("uid", b"")) or None,
        ports=tuple(sorted({endpoint.port for endpoint in endpoints})),
        container=named(container_of(group["cgroup"][:_MAX_CGROUP].decode("utf-8", "replace")), known),
        endpoints=tuple(sorted(set(endpoints), key=lambda endpoint: (":" in endpoint.address, endpoint))),
        netns=_short(group["netns"]),
        pid_namespace=number_of(group.get("pidns", b"")),
        proxy=group.get("proxy") == b"yes",
        shadow_stack=b"shstk" in group.get("features", b"").split(),
        layout=_layout(group.get("layout", b"")),
    )


def _owner(group: dict[str, bytes]) -> int | None:
    owner = group.get("owner")
    return integer(owner, MAX_INTEGER, "a file's owner") if owner else None


def _layout(addresses: bytes) -> str:
    """Return the addresses; nothing where the kernel shows 0, or 1 for the code, in their place (fs/proc/array.c)."""
    words = addresses.decode("ascii", "replace").split()
    hidden = len(words) != 6 or any(not word.isdigit() or len(word) > 20 or int(word) < 2 for word in words)
    return "" if hidden else " ".join(words)


def _sha256(value: bytes) -> str | None:
    text = value.decode("ascii")
    if text and not _SHA256.fullmatch(text):
        raise ValueError("a hash that is not a SHA-256")
    return text or None


def endpoint_of(text: str) -> Endpoint:
    """Return the endpoint of `ADDRESS:PORT` in /proc/net/tcp or tcp6.

    The address is one or four words of 32 bits, each printed as a number of a little-endian machine
    (net/ipv4/tcp_ipv4.c, get_tcp4_sock), which x86-64 and aarch64 are.
    """
    address, _, port = text.partition(":")
    octets = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
    parsed = IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets)
    if parsed.is_unspecified:
        return Endpoint("127.0.0.1" if parsed.version == 4 else "::1", int(port, 16))
    return Endpoint(str(parsed), int(port, 16))
