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
    """Units of CPU time in /proc/PID/stat (CLK_TCK)."""
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
    stuck: tuple[int, ...] = ()
    """Processes whose binary could not be looked at in time, such as on a mount that does not answer."""
    overlay_unseen: bool = False
    """A trace has shown that its bpftrace does not find symbols of ours."""


@dataclass(frozen=True, slots=True)
class NodeBinary:
    """One memcached binary on the node, by its real inode."""

    inode: str
    """`device:inode`, decimal, as stat(1) prints them."""
    size: int
    head: bytes
    """Its first 4,096 bytes: the ELF header, the program headers and, as a rule, the build id."""


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
    """In the PID namespace of the node's own processes, where bpftrace counts too."""
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

    @property
    def id(self) -> str:
        """A name for the instance that stays the same while the process lives."""
        return f"{self.pid}@{self.start}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """A node and the memcached processes on it, in the order of their pids."""

    facts: NodeFacts
    instances: tuple[Instance, ...]
