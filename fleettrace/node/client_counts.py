"""Turn what a program with `--clients` printed into requests by client (bpftrace/client.bt).

In the program a client is a number of 24 bits: the descriptor of a connection that was open before, or bit 23 and the
number of an address that accept(2) returned meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fleettrace.node.entries import Entry
from fleettrace.probes.model import WORD
from fleettrace.summary.clients import peer_text
from fleettrace.summary.counts import Summary
from fleettrace.summary.host_clients import HostClients
from fleettrace.summary.key import Key

__all__ = ["ClientCounts"]

_ACCEPTED = 1 << 23
_LATE_COUNTS = 1000
"""How many more requests than its total a process may have by client, as in slicing.py."""
_SHORT, _HEAD = 72, 56
"""Bytes of the longest short key, and those at the beginning of a long one that an entry has."""
_PEER_BYTES = 24
"""The family, and the halves of the address."""


@dataclass(frozen=True, slots=True)
class ClientCounts:
    """The printed maps of one trace."""

    by_client: Mapping[int, int]
    """Requests by process id << 32 | client."""
    pairs: Sequence[Entry]
    """Requests for hot keys. ABOUT ends with the client and 8 bits of length, so tag and length are mixed up."""
    peers: Sequence[Entry]
    """The addresses; the count of each is its number."""

    def of_process(self, pid: int, counted: Summary, peer_of: Callable[[int], str | None]) -> HostClients:
        """Return the requests of a process, which are `counted` by key, by client. `peer_of` names a descriptor."""
        requests, keys = counted.total, counted.keys
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
        pairs = [_Pair.of(entry) for entry in self.pairs if entry.pid == pid]
        names = _LongKeys(keys, pairs)
        for pair in pairs:
            if (client := name(pair.client)) is not None and (key := names.key_of(pair)) is not None:
                result.add_pair(key, client, pair.requests)
        return result


class _Pair(NamedTuple):
    """The requests of a client for a key: `data` is the key, or of a long one (client-long-key.bt) some bytes and its
    hash."""

    client: int
    length: int
    data: bytes
    requests: int

    @classmethod
    def of(cls, entry: Entry) -> _Pair:
        about = entry.tag << 16 | entry.length
        length = about & 0xFF
        return cls(about >> 8, length, entry.data[:length], entry.requests)

    @property
    def parts(self) -> tuple[int, bytes]:
        """What is known of a long key: its length, and its beginning and its end."""
        return self.length, self.data[: _HEAD + WORD]


class _LongKeys:
    """Finds the complete key of each pair among the listed ones."""

    def __init__(self, keys: Iterable[Key], pairs: Iterable[_Pair]) -> None:
        self._keys: dict[tuple[int, bytes], set[Key]] = {}
        self._truncated: set[tuple[int, bytes]] = set()
        for key in keys:
            if key.length > _SHORT and key.truncated:
                self._truncated.add((key.length, key.data[:_HEAD]))
            elif key.length > _SHORT:
                self._keys.setdefault((key.length, key.data[:_HEAD] + key.data[-WORD:]), set()).add(key)
        self._hashes: dict[tuple[int, bytes], set[bytes]] = {}
        for pair in pairs:
            self._hashes.setdefault(pair.parts, set()).add(pair.data[-WORD:])

    def key_of(self, pair: _Pair) -> Key | None:
        """Return the key; None for none, for several that differ in the middle, and where one was not read whole."""
        if pair.length <= _SHORT:
            return Key.whole(pair.data)
        if (pair.length, pair.data[:_HEAD]) in self._truncated:
            return None
        found = self._keys.get(pair.parts, set())
        return next(iter(found)) if len(found) == 1 and len(self._hashes[pair.parts]) == 1 else None


def _address(data: bytes) -> str | None:
    if len(data) != _PEER_BYTES:
        return None
    family, *_ = struct.unpack_from("<Q", data)
    return peer_text(family, data[8:])
