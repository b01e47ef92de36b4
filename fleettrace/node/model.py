"""What a look around tells of a node: what it can do, and each memcached process on it."""

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
    """The effective user of the session's scripts."""
    bpftrace: Bpftrace | None
    bpftrace_said: str
    """What the bpftrace command printed when asked for its version; the reason when `bpftrace` is None."""
    lockdown: str
    """The kernel's lockdown mode (`none`, `integrity`, `confidentiality`), empty where it has none."""
    tracefs: bool
    timeout: bool
    unshare: bool
    possible_cpus: int = 1
    """CPUs that the kernel is prepared for: a per-CPU map of BPF has a place for each of them."""
    netns: str = ""
    """The network namespace of the session itself, as readlink(1) prints /proc/self/ns/net."""
    tracefs_mountable: bool = True
    """The kernel knows the file system tracefs, mounted or not."""
    btf: bool = True
    """The kernel describes its types itself (/sys/kernel/btf/vmlinux)."""
    headers: bool = True
    """linux/types.h is installed: the kernel's headers or the C library's."""
    dev_fd: bool = True
    capabilities: int | None = None
    """The effective capabilities of the session, a bit each (capabilities(7)); None where the kernel does not say."""
    perf_event_paranoid: int | None = None
    hidepid: str = ""
    """The option `hidepid` of /proc, where the session has no capability that sees through it."""
    preemption: str = ""
    """The kernel's preemption model: `none`, `voluntary`, `lazy`, `full` or `rt`; empty where it is not known."""
    direct_bpftrace: bool = True
    """The bpftrace command is the program itself, which sees the files that the session sees."""
    unreadable: tuple[int, ...] = ()
    """Processes that are called memcached whose binary the session may not look at."""
    boot_id: str = ""
    """One boot of one kernel, the same in all its containers; empty where it could not be read."""
    pid_namespace: str = ""
    """The PID namespace that /proc shows, as readlink(1) prints it."""
    nested_pids: bool = False
    """Its /proc is that of a nested PID namespace: bpftrace numbers processes otherwise."""
    stuck: tuple[int, ...] = ()
    """Processes whose binary could not be looked at in time, such as on a mount that does not answer."""
    loaded: tuple[int, ...] = ()
    """Processes of the dynamic loader that have memcached in their memory, which discovery does not trace."""
    listening: frozenset[int] = frozenset()
    """The TCP ports with a listening socket in the session's network namespace."""
    overlay_unseen: bool = False
    """A trace has shown that its bpftrace does not find symbols of ours."""


@dataclass(frozen=True, slots=True)
class NodeBinary:
    """One memcached binary on the node, by its real inode."""

    inode: str
    """`device:inode`, decimal, as stat(1) prints them."""
    size: int
    sha256: str | None
    """The hash of its content, in hex, by the node's word; None where the node cannot hash it. A build id is no
    identity: `strip` keeps it, and it can be copied."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a process listens for TCP, as one connects to it from inside its network namespace."""

    address: str
    """A numeric address; the loopback's for a socket that listens on every address."""
    port: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One running memcached."""

    pid: int
    """As the node's /proc shows it."""
    start: int
    """When the process started, in clock ticks since boot: with the pid it names one process for good."""
    binary: NodeBinary = field(repr=False)
    exe: bytes
    """The path as the process's own mount namespace has it; ` (deleted)` at its end when it was replaced."""
    user: str | None
    ports: tuple[int, ...]
    container: Container | None
    endpoints: tuple[Endpoint, ...] = ()
    """IPv4 first."""
    netns: str = ""
    """Its network namespace, comparable with `NodeFacts.netns`; empty when it could not be read."""
    pid_namespace: int | None = None
    """The inode number of its PID namespace, where `NodeFacts.nested_pids`; else None."""
    proxy: bool = False
    """It forwards requests to other servers (`-o proxy_config=...`), without look-ups and counters of its own."""

    @property
    def id(self) -> str:
        """A name for the instance that stays the same while the process lives."""
        return f"{self.pid}@{self.start}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """A node and the memcached processes on it, in the order of their pids."""

    facts: NodeFacts
    instances: tuple[Instance, ...]
