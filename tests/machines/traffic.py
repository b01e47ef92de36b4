"""The requests for a node, and their truth: requests by key and kind, misses, and the bytes written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fleettrace.lab.protocol import Command, Reader
from tests.matrix import traffic as matrix

__all__ = ["Details", "details", "requests"]

_STORES = ("set", "ms", "bset")
_NEVER_FOUND_IS_NO_MISS = ("set", "add", "replace", "append", "prepend", "cas", "ms", "bset")
_DELETES = ("delete", "md", "bdelete")


@dataclass(frozen=True, slots=True)
class Details:
    """The effects of commands, in this order, on an empty memcached."""

    misses: Counter[bytes]
    written: Counter[bytes]
    """Bytes of the values written, by key."""
    plain: frozenset[bytes]
    """Keys with stores only: how many bytes an append or an incr makes memcached write depends on its version."""


class _OldMeta(Command):
    """A meta command of memcached before 1.6.10: `ms KEY S2` for `ms KEY 2`, and the answer `OK` for `HD`."""

    __slots__ = ()

    def encode(self) -> bytes:
        if self.verb == "ms":
            return b"ms %b S%d\r\n%b\r\n" % (self.keys[0], len(self.value), self.value)
        return super().encode()

    def check(self, reader: Reader) -> None:
        line, exactly = reader
        super().check((lambda: re.sub(rb"^OK", b"HD", line()), exactly))


def requests(seed: int, suite: str) -> list[Command]:
    """Return the requests for an instance of a node of this release: each protocol, kind, key length and value size.

    `seed` selects the bytes of the keys.
    """
    sizes = [
        Command(verb, (b"%b:%d" % (prefix, size) + b"k" * extra,), b"v" * size)
        for verb, prefix in (("set", b"a:size"), ("ms", b"m:size"), ("bset", b"\n:size"))
        for size in (0, 1, 71, 1000, 40_000)
        for extra in (0, 70, 200)
        for _ in range(3)
    ]
    commands = [*matrix.plan(seed), *sizes]
    if suite == "bullseye":
        old = ("mg", "ms", "md", "ma")
        return [_OldMeta(one.verb, one.keys, one.value) if one.verb in old else one for one in commands]
    return commands


def details(commands: Sequence[Command]) -> Details:
    """Return the effects of the commands."""
    present: set[bytes] = set()
    misses: Counter[bytes] = Counter()
    written: Counter[bytes] = Counter()
    odd: set[bytes] = set()
    for command in commands:
        for key in command.keys:
            if command.verb not in _NEVER_FOUND_IS_NO_MISS and key not in present:
                misses[key] += 1
            if command.verb in _STORES:
                written[key] += len(command.value)
            if command.verb in (*_STORES, "add"):
                present.add(key)
            elif command.verb in _DELETES:
                present.discard(key)
            if command.verb in ("add", "replace", "append", "prepend", "cas", "incr", "decr", "ma", "bincr"):
                odd.add(key)
    every = {key for command in commands for key in command.keys}
    return Details(misses, written, frozenset(every - odd))
