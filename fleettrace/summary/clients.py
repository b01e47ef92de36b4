"""The counts of a sweep that asks which clients use some keys: a summary's key is then an asked key and one client.

In the kernel's map the client is an address that the program saw in accept(2), or else a descriptor. `Asker` is that
form, `ClientKey` the one in a host's result, where each descriptor has been replaced by its peer or counts as unknown.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key

__all__ = ["ALL", "ASKER_BYTES", "UNIX", "Asker", "ClientKey", "address_text", "by_client", "peer_text"]

UNIX = "unix"
"""The client of every connection through a Unix socket."""
ASKER_BYTES = 32
"""Bytes of an `Asker` in a map's key."""
_FAMILY_UNIX, _FAMILY_INET, _FAMILY_INET6 = 1, 2, 10
"""AF_UNIX, AF_INET and AF_INET6 of Linux (include/linux/socket.h)."""
ALL = (1 << 64) - 1
"""The descriptor of the entry that counts every request for an asked key."""


class Asker(NamedTuple):
    """The client of a request as the program shows it."""

    number: int
    """Position of the asked key, from 1."""
    accepted: bool
    """The program saw the connection's accept(2): `family` and `address` are the peer's, else `descriptor` is known."""
    family: int
    descriptor: int
    address: bytes

    @classmethod
    def read(cls, data: bytes) -> Asker | None:
        """Return the value in a map's key (bpftrace/who.bt); None for data that the program does not write."""
        if len(data) != ASKER_BYTES:
            return None
        first, descriptor, address = *struct.unpack_from("<QQ", data), data[16:]
        return cls(first & 0xFFFFFFFF, bool(first >> 63), first >> 32 & 0xFFFF, descriptor, address)

    @property
    def peer(self) -> str | None:
        """The peer's address of an accepted connection; None if it is unknown."""
        return peer_text(self.family, self.address)


class ClientKey(NamedTuple):
    """What a count of such a sweep is about. `client` is None for unknown clients."""

    number: int
    every: bool
    """All requests for the key, of whichever client."""
    client: str | None

    def key(self) -> Key:
        """Return the summary's key, which `read` reverses."""
        return Key.whole(f"{self.number} {'*' if self.every else self.client or '?'}".encode())

    @classmethod
    def read(cls, key: Key) -> ClientKey:
        """Return the value that the key was made from."""
        number, _, client = key.data.decode().partition(" ")
        return cls(int(number), client == "*", None if client in "*?" else client)


def address_text(packed: bytes) -> str:
    """Return an address of 4 or 16 bytes as text; an IPv4 address in an IPv6 one as IPv4."""
    if len(packed) == 4:
        return str(IPv4Address(packed))
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def peer_text(family: int, address: bytes) -> str | None:
    """Return the client of an address of this family as the programs store it, in 16 bytes; None if it is unknown."""
    if family == _FAMILY_UNIX:
        return UNIX
    if family == _FAMILY_INET:
        return address_text(address[8:12])
    return address_text(address) if family == _FAMILY_INET6 else None


def by_client(counted: Summary, keys: int, peer_of: Callable[[int], str | None]) -> Summary:
    """Return the summary with a `ClientKey` in place of each `Asker`; `keys` is the number of asked keys.

    `peer_of` returns the client of a descriptor that was open before counting began, None if it is unknown.
    """
    result = Summary(counted.total, counted.absent, timeline=list(counted.timeline))
    for key, count in counted.keys.items():
        asker = Asker.read(key.data)
        if asker is None or not 1 <= asker.number <= keys:
            continue
        if asker.descriptor == ALL:
            # A second count of the same requests: without kinds it does not pass for requests of its own.
            _add(result, ClientKey(asker.number, True, None), KeyCount(count.requests, timeline=list(count.timeline)))
            continue
        client = asker.peer if asker.accepted else peer_of(asker.descriptor)
        _add(result, ClientKey(asker.number, False, client), count)
    return result


def _add(summary: Summary, client: ClientKey, count: KeyCount) -> None:
    known = summary.keys.get(client.key())
    if known is None:
        summary.keys[client.key()] = count.copy()
    else:
        known.add(count)
