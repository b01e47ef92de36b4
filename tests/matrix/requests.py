"""Send each build of the matrix its requests, and record the truth from the answers: requests, kinds, misses.

In addition to `traffic.plan`, there are requests that create counters, binary keys in the meta protocol's base64, and
one key for each command that no other command uses: it shows whether a report knows the command's kind.
"""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fleettrace.lab.load import Connection
from fleettrace.lab.protocol import HEADER, Command, Reader
from fleettrace.lab.truth import OP_OF_VERB, Op
from tests.matrix.traffic import plan

__all__ = ["Sent", "send", "send_plan", "sole_key"]

_COUNTERS, _EACH = 23, 4
_CREATE = struct.pack("!QQI", 1, 7, 60)
"""Extras of a binary incr that creates its counter."""
_NOT_FOUND = (b"NOT_FOUND", b"EN", b"NF")
_PIPELINE = 24
"""Requests sent before their answers are read; 24 multigets of long keys fit into a socket's buffers."""


@dataclass(slots=True)
class Sent:
    """The truth of one build."""

    ops: Counter[tuple[bytes, Op]] = field(default_factory=Counter)
    misses: Counter[bytes] = field(default_factory=Counter)
    """Requests other than stores for an absent key. `me` is a request without a kind, but it can miss."""

    created: Counter[bytes] = field(default_factory=Counter)
    """Counters that a request created. memcached looks such a key up a second time, to store it."""

    def with_stores_of_counters(self, but: Collection[bytes]) -> Sent:
        """Return the same with these second look-ups counted as stores, except for the keys in `but`."""
        stores = {(key, "set"): count for key, count in self.created.items() if key not in but}
        return Sent(self.ops + Counter(stores), self.misses)

    @property
    def requests(self) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for (key, _), count in self.ops.items():
            found[key] += count
        return found


@dataclass(frozen=True, slots=True)
class _Created:
    """A request that may create its counter: `ma` with N, or a binary incr with an initial value."""

    key: bytes
    new: bool
    binary: bool

    def encode(self) -> bytes:
        if not self.binary:
            return b"ma %b N30 J5\r\n" % self.key
        return HEADER.pack(0x80, 0x05, len(self.key), len(_CREATE), 0, 0, len(_CREATE) + len(self.key), 0, 0) + (
            _CREATE + self.key
        )

    def read(self, reader: Reader, sent: Sent) -> None:
        line, exactly = reader
        if self.binary:
            _, _, _, _, _, status, size, _, _ = HEADER.unpack(exactly(HEADER.size))
            exactly(size)
            assert status == 0
        else:
            assert line() == b"HD"
        sent.ops[self.key, "arith"] += 1
        sent.misses[self.key] += self.new
        sent.created[self.key] += self.new


@dataclass(frozen=True, slots=True)
class _Packed:
    """A meta command with its key in base64."""

    verb: str
    key: bytes
    binary: bool = False

    def encode(self) -> bytes:
        name = base64.b64encode(self.key)
        return b"ms %b 2 b\r\n10\r\n" % name if self.verb == "ms" else b"%b %b b\r\n" % (self.verb.encode(), name)

    def read(self, reader: Reader, sent: Sent) -> None:
        answer = reader[0]().split(b" ")[0]
        assert answer in (b"HD", b"EN", b"NF"), answer
        sent.ops[self.key, OP_OF_VERB[self.verb]] += 1
        sent.misses[self.key] += answer in _NOT_FOUND


@dataclass(frozen=True, slots=True)
class _Plain:
    """A command of the lab's load generator."""

    command: Command

    @property
    def binary(self) -> bool:
        return self.command.binary

    def encode(self) -> bytes:
        return self.command.encode()

    def read(self, reader: Reader, sent: Sent) -> None:
        line, exactly = reader
        lines: list[bytes] = []
        heads: list[bytes] = []

        def note_line() -> bytes:
            lines.append(line())
            return lines[-1]

        def note_exactly(size: int) -> bytes:
            heads.append(exactly(size))
            return heads[-1]

        self.command.check((note_line, note_exactly))
        op = OP_OF_VERB[self.command.verb]
        sent.ops.update((key, op) for key in self.command.keys)
        if op == "set":
            return
        if self.command.binary:
            missed = HEADER.unpack(heads[0])[5] == 1
        elif self.command.verb in ("get", "gets", "gat", "gats"):
            found = Counter(words[1] for each in lines if (words := each.split(b" "))[0] == b"VALUE")
            sent.misses.update(Counter(self.command.keys) - found)
            return
        else:
            missed = lines[0].split(b" ")[0] in _NOT_FOUND
        sent.misses[self.command.keys[0]] += missed


_Request = _Created | _Packed | _Plain


def sole_key(verb: str) -> bytes:
    """Return the key that only this command uses."""
    return b"sole:%b" % verb.encode()


def send(address: str, port: int, seed: int) -> Sent:
    """Send all requests to the memcached at a port and return the truth. Raises `FleettraceError` or `OSError`.

    `seed` makes the keys' bytes differ from one instance to the next.
    """
    return _send(address, port, _requests(seed))


def send_plan(address: str, port: int, commands: Iterable[Command]) -> Sent:
    """Send these commands to the memcached at a port and return the truth. Raises `FleettraceError` or `OSError`."""
    return _send(address, port, map(_Plain, commands))


def _send(address: str, port: int, requests: Iterable[_Request]) -> Sent:
    sent = Sent()
    connections = {binary: Connection(address, port, 60) for binary in (False, True)}
    try:
        batch: list[_Request] = []
        for request in requests:
            if batch and (request.binary != batch[0].binary or len(batch) == _PIPELINE):
                _exchange(connections[batch[0].binary], batch, sent)
                batch = []
            batch.append(request)
        _exchange(connections[batch[0].binary], batch, sent)
    finally:
        for connection in connections.values():
            connection.close()
    sent.misses = +sent.misses
    return sent


def _exchange(connection: Connection, batch: Sequence[_Request], sent: Sent) -> None:
    connection.socket.sendall(b"".join(request.encode() for request in batch))
    for request in batch:
        request.read((connection.line, connection.exactly), sent)


def _requests(seed: int) -> Iterator[_Request]:
    for command in plan(seed):
        yield _Plain(command)
    for verb in OP_OF_VERB:
        for _ in range(_EACH):
            yield _Plain(Command(verb, (sole_key(verb),), b"10"))
    for number in range(_COUNTERS):
        for repetition in range(_EACH):
            yield _Created(b"limit:%d" % number, not repetition, binary=False)
            yield _Created(b"rate:%d" % number, not repetition, binary=True)
    for number in range(_COUNTERS):
        key = struct.pack("<IQ", number + 1, seed)
        for verb in ("mg", "ms", "mg", "ma", "md", "mg"):
            yield _Packed(verb, key)
    for verb in ("mg", "ma", "md"):
        for number in range(_COUNTERS):
            yield _Packed(verb, b"packed\0" + verb.encode() + struct.pack("<Q", number))
