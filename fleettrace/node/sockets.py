"""Read the sockets of memcached processes, and name the client that had a descriptor when counting began.

A connection that was open before the trace has its descriptor in two readings, one before the program was attached and
one after counting began, with the same inode in both: no other connection had that descriptor in between. Otherwise
the descriptor may have been used again, and the client is unknown. Connections that are accepted in the window need no
reading (bpftrace/who.bt).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fleettrace.errors import HostError
from fleettrace.node.records import read_records
from fleettrace.node.scripts import script_text
from fleettrace.summary.clients import UNIX, address_text
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Limits

__all__ = ["Sockets", "peer_of", "read_sockets"]

_LIMITS = Limits(seconds=10, max_bytes=1 << 25)
_LINE = re.compile(rb"^(?:f (\d{1,9}) (\d{1,20})|t ([0-9A-F]{8}|[0-9A-F]{32}) (\d{1,20})|u (\d{1,20}))$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets of one process at one moment."""

    inodes: Mapping[int, int] = field(default_factory=dict)
    """By descriptor."""
    peers: Mapping[int, str] = field(default_factory=dict)
    """The client, by inode."""


def read_sockets(connection: Connection, pids: Sequence[int]) -> dict[int, Sockets]:
    """Return the sockets of each process, by pid; nothing where the node does not give them in time."""
    script = f"pids='{' '.join(str(int(pid)) for pid in pids)}'\n{script_text('sockets.sh')}"
    try:
        records = read_records(run_script(connection, script.encode(), _LIMITS).out)
    except (HostError, ValueError):
        return {}
    found = {}
    for record in records:
        pid, _, lines = record.value.partition(b"\n")
        if record.tag == "sockets" and pid.isdigit() and len(pid) < 10:
            found[int(pid)] = _sockets(lines)
    return {pid: found[pid] for pid in pids if pid in found}


def _sockets(lines: bytes) -> Sockets:
    inodes: dict[int, int] = {}
    peers: dict[int, str] = {}
    for descriptor, inode, peer, of, unix in _LINE.findall(lines):
        if descriptor:
            inodes[int(descriptor)] = int(inode)
        elif peer:
            peers[int(of)] = _address(peer)
        else:
            peers[int(unix)] = UNIX
    return Sockets(inodes, peers)


def _address(shown: bytes) -> str:
    """Return the address that /proc/net/tcp shows as 32-bit numbers in the node's byte order, which is little-endian on
    all architectures that fleettrace analyses binaries of."""
    words = (shown[start : start + 8] for start in range(0, len(shown), 8))
    return address_text(b"".join(int(word, 16).to_bytes(4, "little") for word in words))


def peer_of(before: Sockets, later: Sequence[Sockets]) -> Callable[[int], str | None]:
    """Return a function from a descriptor to the client that had it when counting began; None: unknown.

    `before` was read before the program was attached, each of `later` after counting began.
    """

    def peer(descriptor: int) -> str | None:
        inode = before.inodes.get(descriptor)
        if inode is None or all(one.inodes.get(descriptor) != inode for one in later):
            return None
        return before.peers.get(inode)

    return peer
