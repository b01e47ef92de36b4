"""Hosts as network namespaces on one bridge, each with one veth and one address.

The machine itself is at the bridge's address (10.231.X.1) and plays the controller. Only namespaces and links are made:
the pid namespace and the file systems are shared, which is why the lab's inventory says `fleettrace_scope: netns`.
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
    """The words in front of a command that put it into a namespace.

    Not `ip netns exec`: that mounts a new /sys without tracefs and control groups, where bpftrace finds neither.
    """
    return [find_program("nsenter") or "nsenter", f"--net={RUN_NETNS / namespace}", "--"]


@dataclass(frozen=True, slots=True)
class Network:
    """The network of one lab. `id` leads every name in it."""

    id: str
    subnet: int

    @property
    def bridge(self) -> str:
        return f"{self.id}br0"

    def link(self, index: int) -> str:
        """The bridge's end of a host's veth."""
        return f"{self.id}v{index}"

    def namespace(self, host: str) -> str:
        return f"{self.id}-{host}"

    def address(self, index: int) -> str:
        return f"10.231.{self.subnet}.{FIRST_ADDRESS + index}"

    def create(self, hosts: Sequence[str | None]) -> None:
        """Make the bridge and, for every host that is not None, its namespace; the index is its address's."""
        if len(hosts) > MAX_HOSTS:
            raise FleettraceError(f"lab: {len(hosts)} hosts asked for, one lab holds {MAX_HOSTS} at the most")
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
        """Connect or cut a host: with its link down, packets to and from it vanish without an answer."""
        batch([f"link set {self.link(index)} {'up' if up else 'down'}"])


def batch(lines: Sequence[str], *, namespace: str | None = None, force: bool = False) -> None:
    """Run many `ip` commands in one process: a fleet would spend seconds in starting `ip` otherwise."""
    command = [find_program("ip") or "ip", *(["-n", namespace] if namespace else []), *(["-force"] if force else [])]
    run([*command, "-batch", "-"], input="".join(f"{line}\n" for line in lines), check=not force)


def inodes(lab: str) -> list[int]:
    """The inode numbers of a lab's network namespaces."""
    return [path.stat().st_ino for path in RUN_NETNS.glob(f"{lab}-*")]


def delete_network(lab: str) -> None:
    """Delete every link and namespace of a lab, whichever of them exist. Raises `FleettraceError` when one stays."""
    links = [path.name for path in Path("/sys/class/net").glob(f"{lab}*") if belongs(lab, path.name)]
    spaces = [path.name for path in RUN_NETNS.glob(f"{lab}-*")]
    if links or spaces:
        batch([*(f"link del {name}" for name in links), *(f"netns del {name}" for name in spaces)], force=True)
    left = [name for name in links if Path("/sys/class/net", name).exists()]
    left += [name for name in spaces if (RUN_NETNS / name).exists()]
    if left:
        raise FleettraceError(f"lab: cannot delete {', '.join(left)}; try `ip link del` and `ip netns del` by hand")


def belongs(lab: str, link: str) -> bool:
    return re.fullmatch(rf"{lab}(br0|v\d+)", link) is not None


def networks_in_use() -> set[int]:
    """The X of every 10.231.X.0/24 that an address or a route of this machine touches."""
    ip = find_program("ip") or "ip"
    done = subprocess.run([ip, "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=False)
    return {int(number) for number in re.findall(r"\b10\.231\.(\d+)\.", done.stdout)}
