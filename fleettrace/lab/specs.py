"""Specifications of a lab's hosts: plain values from which `fleet.Lab` creates real hosts.

The defaults describe a healthy host with one unstripped memcached on port 11211. Every other value describes one way in
which real hosts differ or are broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = [
    "Bpftrace",
    "ContainerSpec",
    "HostKeyKind",
    "HostSpec",
    "InstanceSpec",
    "Login",
    "Reach",
    "Shape",
    "container",
    "plain",
    "two",
]


class Shape(StrEnum):
    """How a memcached instance is started."""

    PLAIN = "plain"
    CONTAINER = "container"
    """In its own mount and pid namespaces; its binary is at /usr/local/bin/memcached there and not on the host."""
    RENAMED = "renamed"
    """The binary is called `kvstore`."""
    WRAPPER = "wrapper"
    """A shell script called `memcached` is the parent of the real one."""
    DELETED = "deleted"
    """The binary was replaced on disk after it started, as an upgrade does."""


class Reach(StrEnum):
    """How a host answers on port 22."""

    UP = "up"
    DOWN = "down"
    """No host has the address."""
    CLOSED = "closed"
    """The host is up, and no sshd listens."""
    MUTE = "mute"
    """The host accepts TCP connections and sends nothing."""


class HostKeyKind(StrEnum):
    """The state of a host's key in the lab's known_hosts file."""

    KNOWN = "known"
    CHANGED = "changed"
    UNKNOWN = "unknown"


class Login(StrEnum):
    """The user that the controller logs in as, and what sudo allows it."""

    ROOT = "root"
    SUDO = "sudo"
    """A user that may run any command without a password."""
    SUDO_PASSWORD = "sudo-password"
    """sudo asks for a password, and the inventory has it."""
    SUDO_WRONG_PASSWORD = "sudo-wrong-password"
    SUDO_NO_PASSWORD = "sudo-no-password"
    """sudo asks for a password, and the inventory has none."""
    SUDO_REFUSED = "sudo-refused"
    """sudo does not know the user; the inventory has the user's password."""


class Bpftrace(StrEnum):
    """The bpftrace of a host."""

    REAL = "real"
    ABSENT = "absent"
    """No file system path of the host has a bpftrace."""
    FLOOD = "flood"
    """The inventory names one that prints without end when it should trace."""
    OLD = "old"
    """The inventory names one that reports version 0.9.4."""
    BROKEN = "broken"
    """The inventory names one that fails at once when it should trace."""


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One memcached instance of a host."""

    port: int = 11211
    shape: Shape = Shape.PLAIN
    variant: str = "plain"
    """A name in `build.VARIANTS`, or `debian` for the stripped binary of the distribution's package."""
    copy: str = "a"
    """Instances of one host with equal variant, shape and copy run from one inode."""
    binary: Path | None = None
    """A binary to run a copy of, instead of a built variant."""
    options: tuple[str, ...] = ()
    """Additional options of memcached."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One memcached instance in a real Docker container on a host, in the host's network namespace."""

    name: str
    image: str
    """The image's name in the lab's daemon, such as `memcached:lab`. Containers of one image share one inode."""
    port: int
    variant: str = "plain"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host of a lab. `name` is its inventory name and part of its namespace's name."""

    name: str
    instances: tuple[InstanceSpec, ...] = (InstanceSpec(),)
    containers: tuple[ContainerSpec, ...] = ()
    """If not empty, the host has its own Docker daemon (takes some seconds; needs Debian's docker.io)."""
    reach: Reach = Reach.UP
    authorized: bool = True
    """Whether the host accepts the lab's client key."""
    host_key: HostKeyKind = HostKeyKind.KNOWN
    login: Login = Login.ROOT
    bpftrace: Bpftrace = Bpftrace.REAL
    groups: tuple[str, ...] = ("cache",)
    variables: Mapping[str, object] = field(default_factory=dict)
    """Additional inventory variables; they override the lab's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that sshd sets in the environment of every session."""


def plain(port: int = 11211, variant: str = "plain") -> tuple[InstanceSpec, ...]:
    """Return the specification of one instance."""
    return (InstanceSpec(port=port, variant=variant),)


def two(first: int = 11211, second: int = 11212, variant: str = "plain") -> tuple[InstanceSpec, ...]:
    """Return the specifications of two instances that share an inode, on two ports."""
    return (InstanceSpec(port=first, variant=variant), InstanceSpec(port=second, variant=variant))


def container(port: int = 11211, variant: str = "plain") -> tuple[InstanceSpec, ...]:
    """Return the specification of one instance with `Shape.CONTAINER`."""
    return (InstanceSpec(port=port, shape=Shape.CONTAINER, variant=variant),)
