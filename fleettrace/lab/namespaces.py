"""Hosts as network namespaces on one bridge, each with one veth and one address.

The machine itself is the controller, with the bridge's address (10.231.X.1). Hosts have their own network namespaces
and share the pid namespace and the file systems: therefore the lab's inventory sets `fleettrace_scope: netns`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import FleettraceError
from fleettrace.lab.packages import find_program
from fleettrace.lab.system import run

__all__ = ["MAX_HOSTS", "Network", "delete_network", "enter", "inodes", "networks_in_use"]

RUN_NETNS = Path("/run/netns")
MAX_HOSTS = 240
FIRST_ADDRESS = 10


def enter(namespace: str) -> list[str]:
    """Return the beginning of a command line that runs the rest in a namespace.

    `ip netns exec` would mount a new /sys without tracefs and control groups, which bpftrace needs.
    """
    return [find_program("nsenter") or "nsenter", f"--net={RUN_NETNS / namespace}", "--"]


@dataclass(frozen=True, slots=True)
class Network:
    """The network of one lab. Every name in it begins with `id`."""

    id: str
    subnet: int

    @property
    def bridge(self) -> str:
        return f"{self.id}br0"

    def link(self, index: int) -> str:
        """Return the name of the bridge's end of a host's veth."""
        return f"{self.id}v{index}"

    def namespace(self, host: str) -> str:
        return f"{self.id}-{host}"

    def address(self, index: int) -> str:
        return f"10.231.{self.subnet}.{FIRST_ADDRESS + index}"

    def create(self, hosts: Sequence[str | None]) -> None:
        """Create the bridge and a namespace for every host that is not None; its index determines its address."""
        if len(hosts) > MAX_HOSTS:
            raise FleettraceError(f"lab: {len(hosts)} hosts requested: a lab has at most {MAX_HOSTS}")
        up = [(index, self.namespace(host)) for index, host in enumerate(hosts) if host is not None]
        batch([f"netns add {namespace}" for _, namespace in up])
        lines = [
            f"link add {self.bridge} type bridge stp_state 0 forward_delay 0",
            f"addr add 10.231.{self.subnet}.1/24 dev {self.bridge}",
            f"link set {self.bridge} up",
        ]
        for index, namespace in up:
            lines.append(f"link add {self.link(index)} type veth peer name eth0 netns {namespace}")
            lines.append(f"link set {self.link(index)} master {self.bridge} up")
        batch(lines)
        for index, namespace in up:
            inside = ["link set lo up", f"addr add {self.address(index)}/24 dev eth0", "link set eth0 up"]
            batch(inside, namespace=namespace)

    def set_link(self, index: int, *, up: bool) -> None:
        """Connect or disconnect a host. While its link is down, packets to and from it are dropped silently."""
        batch([f"link set {self.link(index)} {'up' if up else 'down'}"])


def batch(lines: Sequence[str], *, namespace: str | None = None, force: bool = False) -> None:
    """Run many `ip` commands in one process: starting `ip` for each would take seconds for a fleet."""
    command = [find_program("ip") or "ip", *(["-n", namespace] if namespace else []), *(["-force"] if force else [])]
    run([*command, "-batch", "-"], input="".join(f"{line}\n" for line in lines), check=not force)


def inodes(lab: str) -> list[int]:
    """Return the inode numbers of a lab's network namespaces."""
    return [path.stat().st_ino for path in RUN_NETNS.glob(f"{lab}-*")]


def delete_network(lab: str) -> None:
    """Delete every existing link and namespace of a lab. Raises `FleettraceError` when one remains."""
    links = [path.name for path in Path("/sys/class/net").glob(f"{lab}*") if belongs(lab, path.name)]
    spaces = [path.name for path in RUN_NETNS.glob(f"{lab}-*")]
    if links or spaces:
        batch([*(f"link del {name}" for name in links), *(f"netns del {name}" for name in spaces)], force=True)
    remaining = [name for name in links if Path("/sys/class/net", name).exists()]
    remaining += [name for name in spaces if (RUN_NETNS / name).exists()]
    if remaining:
        raise FleettraceError(f"lab: cannot delete {', '.join(remaining)}: run `ip link del` or `ip netns del`")


def belongs(lab: str, link: str) -> bool:
    return re.fullmatch(rf"{lab}(br0|v\d+)", link) is not None


def networks_in_use() -> set[int]:
    """Return the X of every 10.231.X.0/24 to which this machine has an address or a route."""
    ip = find_program("ip") or "ip"
    done = subprocess.run([ip, "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=False)
    return {int(number) for number in re.findall(r"\b10\.231\.(\d+)\.", done.stdout)}
