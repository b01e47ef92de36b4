"""Turn what a program with `--clients` printed into requests by client (bpftrace/client.bt).

In the program a client is a number of 24 bits: the descriptor of a connection that was open before, or bit 23 and the
number of an address that accept(2) returned meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fleettrace.node.entries import Entry
from fleettrace.summary.clients import peer_text
from fleettrace.summary.host_clients import HostClients
from fleettrace.summary.key import Key

__all__ = ["ClientCounts"]

_ACCEPTED = 1 << 23
_LATE_COUNTS = 1000
"""How many more requests than its total a process may have by client, as in slicing.py."""
_PEER_BYTES = 24
"""The family, and the halves of the address."""


@dataclass(frozen=True, slots=True)
class ClientCounts:
    """The printed maps of one trace."""

    by_client: Mapping[int, int]
    """Requests by process id << 32 | client."""
    pairs: Sequence[Entry]
    """Requests for hot keys; the tag of each is the client."""
    peers: Sequence[Entry]
    """The addresses; the count of each is its number."""

    def of_process(self, pid: int, requests: int, peer_of: Callable[[int], str | None]) -> HostClients:
        """Return the requests of a process, of which there are `requests`, by client. `peer_of` names a descriptor."""
        numbered = {entry.requests: _address(entry.data) for entry in self.peers if entry.pid == pid}
        result = HostClients(requests)
        of_pairs = sum(entry.requests for entry in self.pairs if entry.pid == pid)
        by_client = sum(count for number, count in self.by_client.items() if number >> 32 == pid)
        if max(of_pairs, by_client) > requests + _LATE_COUNTS:
            # No program counts that: nothing of it is used.
            return result

        def name(client: int) -> str | None:
            return numbered.get(client ^ _ACCEPTED) if client & _ACCEPTED else peer_of(client)

        for number, count in self.by_client.items():
            if number >> 32 == pid and (client := name(number & 0xFFFFFFFF)) is not None:
                result.add_client(client, count)
        for entry in self.pairs:
            if entry.pid == pid and (client := name(entry.tag)) is not None:
                result.add_pair(Key(entry.data, max(entry.length, len(entry.data))), client, entry.requests)
        return result


def _address(data: bytes) -> str | None:
    if len(data) != _PEER_BYTES:
        return None
    family, *_ = struct.unpack_from("<Q", data)
    return peer_text(family, data[8:])
