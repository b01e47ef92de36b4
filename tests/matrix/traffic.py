"""What each instance of the matrix is sent: four protocols whose keys have nothing in common, of every length there is.

Which protocol a key came by shows in the key itself, so that each cell of the matrix is checked on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from fleettrace.lab.protocol import MAX_KEY, Command
from fleettrace.lab.truth import Verb

__all__ = ["Protocol", "plan", "protocol_of"]


class Protocol(StrEnum):
    """A way of asking memcached."""

    ASCII = "ascii"
    MULTIGET = "multiget"
    META = "meta"
    BINARY = "binary"


_FIRST = {b"a": Protocol.ASCII, b"g": Protocol.MULTIGET, b"m": Protocol.META}
"""The first byte of the keys that go by each protocol; all other keys go by the binary one, which takes any byte."""
_TEXT = bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)
"""The bytes that a key may have in the ascii and meta protocols."""
_ANY = bytes(range(1, 0x100))
_WITH_NUL = bytes(range(0x100))
"""Those of short keys of the binary protocol."""
_SHORT = 72
_VERBS: dict[Protocol, tuple[Verb, ...]] = {
    Protocol.ASCII: (
        *("get", "gets", "gat", "gats", "set", "add", "replace", "append", "prepend", "cas"),
        *("incr", "decr", "delete", "touch"),
    ),
    Protocol.MULTIGET: (),
    Protocol.META: ("mg", "ms", "md", "ma"),
    Protocol.BINARY: ("bget", "bgetk", "bset", "bdelete", "bincr", "btouch"),
}
_FETCH: dict[Protocol, Verb] = {Protocol.ASCII: "get", Protocol.META: "mg", Protocol.BINARY: "bget"}
_SEVERAL = 100
"""Keys of a multiget."""


def protocol_of(key: bytes) -> Protocol:
    """The protocol that this key was sent by."""
    return _FIRST.get(key[:1], Protocol.BINARY)


def plan(place: int) -> list[Command]:
    """What the instance at this place is sent: another mixture of bytes at each, and everything with its verb."""
    commands = []
    for protocol, verbs in _VERBS.items():
        keys = list(_keys(protocol, place))
        if protocol is Protocol.MULTIGET:
            commands += [Command(verb, tuple(keys[:_SEVERAL])) for verb in ("get", "gets", "gat", "gats")]
            commands += [
                Command("get", tuple(keys[start : start + _SEVERAL])) for start in range(0, len(keys), _SEVERAL)
            ]
            commands += [Command("get", (keys[7],) * _SEVERAL)] * 23
            continue
        commands += [Command(_FETCH[protocol], (key,)) for key in keys]
        for number, verb in enumerate(verbs):
            commands += [Command(verb, (keys[number * 7],), b"10")] * 23
            # The same key by several verbs, on a key that is there (or so for as long as nobody deletes it).
            commands += [
                Command(verb, (key,), b"10") for key in (keys[70], keys[71], keys[249]) for _ in range(number + 2)
            ]
    # One byte, each there is; those that open another protocol's keys are theirs.
    commands += [Command("bget", (bytes([byte]),)) for byte in _ANY if protocol_of(bytes([byte])) is Protocol.BINARY]
    return commands


def _keys(protocol: Protocol, place: int) -> Iterator[bytes]:
    """One key of each length from 1 to 250 bytes; all of a protocol's together hold every byte that it takes."""
    first = next((byte for byte, known in _FIRST.items() if known is protocol), b"\n")
    allowed = _TEXT
    for length in range(1, MAX_KEY + 1):
        if protocol is Protocol.BINARY and length <= _SHORT:
            allowed = _WITH_NUL
        elif protocol is Protocol.BINARY:
            allowed = _ANY
        start = (length * 31 + place * 17) % len(allowed)
        yield first + ((allowed[start:] + allowed) * 2)[: length - 1]
