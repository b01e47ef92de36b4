"""The result of a discovery: what a node can do, and each memcached process on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleettrace.summary.run import Container

__all__ = ["Bpftrace", "Discovery", "Endpoint", "Instance", "NodeBinary", "NodeFacts"]


@dataclass(frozen=True, slots=True, order=True)
class Bpftrace:
    """The node's bpftrace, by its version."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node is and can do."""

    kernel: str
    arch: str
    uid: int
    """The effective user id of the session's scripts."""
    bpftrace: Bpftrace | None
    bpftrace_output: str
    """The output of the bpftrace command with `--version`; the reason if `bpftrace` is None."""
    lockdown: str
    """The kernel's lockdown mode (`none`, `integrity`, `confidentiality`); empty if it has none."""
    tracefs: bool
    unshare: bool
    possible_cpus: int = 1
    """CPUs that the kernel is prepared for: a per-CPU map of BPF has a slot for each of them."""
    netns: str = ""
    """The network namespace of the session itself, as readlink(1) prints /proc/self/ns/net."""
    tracefs_mountable: bool = True
    """The kernel supports the file system tracefs, mounted or not."""
    btf: bool = True
    """The kernel has BTF, a description of its types (/sys/kernel/btf/vmlinux)."""
    headers: bool = True
    """linux/types.h is installed: the kernel's headers or the C library's."""
    dev_fd: bool = True
    capabilities: int | None = None
    """The session's effective capabilities, one bit each (capabilities(7)); None if unknown."""
    perf_event_paranoid: int | None = None
    hidepid: str = ""
    """The option `hidepid` of /proc, unless the session has the capability that overrides it."""
    preemption: str = ""
    """The kernel's preemption model: `none`, `voluntary`, `lazy`, `full` or `rt`; empty if unknown."""
    direct_bpftrace: bool = True
    """The bpftrace command is the program itself, which has the same files as the session."""
    unreadable: tuple[int, ...] = ()
    """The pids of processes named memcached with a binary that the session may not read."""
    boot_id: str = ""
    """The id of the kernel's boot, the same in all its containers; empty if it could not be read."""
    randomized: bool = False
    """The kernel gives every process its own addresses (kernel.randomize_va_space is 2)."""
    pid_namespace: str = ""
    """The PID namespace of /proc, as readlink(1) prints it."""
    nested_pids: bool = False
    """/proc is that of a nested PID namespace: bpftrace uses other process numbers."""
    stuck: tuple[int, ...] = ()
    """The pids of processes with a binary that could not be read in time, such as on a mount without a server."""
    loaded: tuple[int, ...] = ()
    """The pids of processes of the dynamic loader with memcached in their memory, which discovery does not trace."""
    listening: frozenset[int] = frozenset()
    """The TCP ports with a listening socket in the session's network namespace."""
    overlay_unseen: bool = False
    """A trace has shown that the node's bpftrace does not read symbol overlays."""


@dataclass(frozen=True, slots=True)
class NodeBinary:
    """One memcached binary on the node, by its real inode."""

    inode: str
    """`device:inode`, decimal, as stat(1) prints them."""
    size: int
    sha256: str | None
    """The hash of its content, in hex, as the node reports it; None if the node cannot compute it. A build id does not
    identify a binary: `strip` leaves it unchanged, and it can be copied."""
    owner: int | None = None
    """The user id that owns the file; None if the node does not report it."""

    @property
    def of_root(self) -> bool:
        """Whether only root can have written this content."""
        return self.owner == 0


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address and port on which a process accepts TCP connections, inside its network namespace."""

    address: str
    """A numeric address; the loopback address for a socket that listens on every address."""
    port: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One running memcached process."""

    pid: int
    """Its number in the node's /proc."""
    start: int
    """When the process started, in clock ticks since boot. Pid and start together identify a process."""
    binary: NodeBinary = field(repr=False)
    exe: bytes
    """The path in the process's own mount namespace, with ` (deleted)` at its end if it was replaced."""
    user: str | None
    ports: tuple[int, ...]
    container: Container | None
    endpoints: tuple[Endpoint, ...] = ()
    """IPv4 first."""
    netns: str = ""
    """Its network namespace, comparable with `NodeFacts.netns`; empty if it could not be read."""
    pid_namespace: int | None = None
    """The inode number of its PID namespace if `NodeFacts.nested_pids`; else None."""
    proxy: bool = False
    """It forwards requests to other servers (`-o proxy_config=...`), and does not look keys up or count requests."""

    shadow_stack: bool = False
    """It, or another memcached process of the same binary, has a user shadow stack: a probe concerns all of them."""
    layout: str = field(default="", repr=False)
    """Random addresses of the process, which only a user who may trace it can read; empty where the session cannot."""

    @property
    def id(self) -> str:
        """Return an identifier that stays the same while the process lives."""
        return f"{self.pid}@{self.start}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """A node and the memcached processes on it, in the order of their pids."""

    facts: NodeFacts
    instances: tuple[Instance, ...]
