"""What a lab's host is to be like: plain values, from which `fleet.Lab` makes real hosts.

The defaults are a healthy host with one unstripped memcached on port 11211; every other choice is one way for a real
host to be different or broken.
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
    """How a memcached comes to run."""

    PLAIN = "plain"
    CONTAINER = "container"
    """In mount and pid namespaces of its own, its binary at /usr/local/bin/memcached there and not on the host."""
    RENAMED = "renamed"
    """The binary is called `kvstore`."""
    WRAPPER = "wrapper"
    """A shell script called `memcached` is the parent of the real one."""
    DELETED = "deleted"
    """The binary was replaced on disk after it started, as an upgrade does."""


class Reach(StrEnum):
    """What a controller meets when it knocks at port 22."""

    UP = "up"
    DOWN = "down"
    """The address is nobody's."""
    CLOSED = "closed"
    """The host is there, no sshd listens."""
    MUTE = "mute"
    """TCP is accepted, and nothing is said."""


class HostKeyKind(StrEnum):
    """What the lab's known_hosts says of a host's key."""

    KNOWN = "known"
    CHANGED = "changed"
    UNKNOWN = "unknown"


class Login(StrEnum):
    """As whom the controller logs in, and what sudo makes of it."""

    ROOT = "root"
    SUDO = "sudo"
    """A user who may run anything without a password."""
    SUDO_PASSWORD = "sudo-password"
    """A user whose sudo asks for a password, which the inventory gives."""
    SUDO_WRONG_PASSWORD = "sudo-wrong-password"
    SUDO_NO_PASSWORD = "sudo-no-password"
    """A user whose sudo asks for a password, which the inventory lacks."""
    SUDO_REFUSED = "sudo-refused"
    """A user whom sudo does not know; the inventory gives the user's password."""


class Bpftrace(StrEnum):
    """Which bpftrace a host has."""

    REAL = "real"
    ABSENT = "absent"
    """There is none at any path of the host's."""
    FLOOD = "flood"
    """The inventory names one that prints without end, once it is asked to trace."""
    OLD = "old"
    """The inventory names one that says it is 0.9.4."""
    BROKEN = "broken"
    """The inventory names one that fails at once when it is asked to trace."""


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One memcached of a host."""

    port: int = 11211
    shape: Shape = Shape.PLAIN
    variant: str = "plain"
    """A name in `build.VARIANTS`, or `debian` for the stripped binary of the distribution's package."""
    copy: str = "a"
    """Instances of one host with the same variant and shape run from one inode, unless their copies differ."""
    binary: Path | None = None
    """Run (a copy of) this binary instead of building a variant."""
    options: tuple[str, ...] = ()
    """More of memcached's own options."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One memcached in a real Docker container on a host, in the host's network namespace."""

    name: str
    image: str
    """A name in the lab's daemon, such as `memcached:lab`. Containers of one image share one inode."""
    port: int
    variant: str = "plain"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host of a lab. `name` is the inventory's name; it becomes part of a namespace's name."""

    name: str
    instances: tuple[InstanceSpec, ...] = (InstanceSpec(),)
    containers: tuple[ContainerSpec, ...] = ()
    """Not empty: the host has a Docker daemon of its own (takes some seconds; needs Debian's docker.io)."""
    reach: Reach = Reach.UP
    authorized: bool = True
    """False: the host does not know the lab's client key."""
    host_key: HostKeyKind = HostKeyKind.KNOWN
    login: Login = Login.ROOT
    bpftrace: Bpftrace = Bpftrace.REAL
    groups: tuple[str, ...] = ("cache",)
    variables: Mapping[str, object] = field(default_factory=dict)
    """More inventory variables; they win over the lab's own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What sshd sets in the environment of every session."""


def plain(port: int = 11211, variant: str = "plain") -> tuple[InstanceSpec, ...]:
    """One instance."""
    return (InstanceSpec(port=port, variant=variant),)


def two(first: int = 11211, second: int = 11212, variant: str = "plain") -> tuple[InstanceSpec, ...]:
    """Two instances of one inode on two ports."""
    return (InstanceSpec(port=first, variant=variant), InstanceSpec(port=second, variant=variant))


def container(port: int = 11211, variant: str = "plain") -> tuple[InstanceSpec, ...]:
    """One instance of a container's shape."""
    return (InstanceSpec(port=port, shape=Shape.CONTAINER, variant=variant),)
