"""The traffic of each instance of the matrix: four protocols with disjoint keys, of every length.

The key's first byte shows its protocol, so that each cell of the matrix is checked separately.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from fleettrace.lab.protocol import MAX_KEY, Command
from fleettrace.lab.truth import Verb

__all__ = ["Protocol", "plan", "protocol_of"]


class Protocol(StrEnum):
    """A protocol, or a form of it, that clients use."""

    ASCII = "ascii"
    MULTIGET = "multiget"
    META = "meta"
    BINARY = "binary"


_FIRST = {b"a": Protocol.ASCII, b"g": Protocol.MULTIGET, b"m": Protocol.META}
"""The first byte of each protocol's keys. All other keys are sent over the binary protocol, which accepts any byte."""
_TEXT = bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)
"""The bytes that a key may have in the ascii and meta protocols."""
_ANY = bytes(range(1, 0x100))
_WITH_NUL = bytes(range(0x100))
"""The bytes of short keys of the binary protocol."""
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
    """Return the protocol over which this key was sent."""
    return _FIRST.get(key[:1], Protocol.BINARY)


def plan(seed: int) -> list[Command]:
    """Return the commands for an instance; `seed` selects the bytes of its keys."""
    commands = []
    for protocol, verbs in _VERBS.items():
        keys = list(_keys(protocol, seed))
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
            # The same key in commands of several verbs, present until one of them deletes it.
            commands += [
                Command(verb, (key,), b"10") for key in (keys[70], keys[71], keys[249]) for _ in range(number + 2)
            ]
    # Keys of one byte, for every byte that begins no key of another protocol.
    commands += [Command("bget", (bytes([byte]),)) for byte in _ANY if protocol_of(bytes([byte])) is Protocol.BINARY]
    return commands


def _keys(protocol: Protocol, seed: int) -> Iterator[bytes]:
    """Yield one key of each length from 1 to 250 bytes. Together they contain every byte that the protocol accepts."""
    first = next((byte for byte, known in _FIRST.items() if known is protocol), b"\n")
    allowed = _TEXT
    for length in range(1, MAX_KEY + 1):
        if protocol is Protocol.BINARY and length <= _SHORT:
            allowed = _WITH_NUL
        elif protocol is Protocol.BINARY:
            allowed = _ANY
        start = (length * 31 + seed * 17) % len(allowed)
        yield first + ((allowed[start:] + allowed) * 2)[: length - 1]
