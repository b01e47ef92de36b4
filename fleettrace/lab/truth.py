"""The truth about a lab's traffic: how many requests each key got, per host and instance, by command.

The unit is a request: one memcached command naming one key. A multiget of 100 keys is 100 requests.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["OP_OF_VERB", "Op", "TracedInstance", "Truth", "Verb"]

Op = str
"""`get`, `set`, `delete`, `arith`, `touch` or `other`."""
Verb = str
"""A command as the load generator names it: the ascii and meta words, and `b`-words for the binary protocol."""

OP_OF_VERB: Mapping[Verb, Op] = {
    **dict.fromkeys(("get", "gets", "mg", "bget", "bgetk"), "get"),
    **dict.fromkeys(("set", "add", "replace", "append", "prepend", "cas", "ms", "bset"), "set"),
    **dict.fromkeys(("delete", "md", "bdelete"), "delete"),
    **dict.fromkeys(("incr", "decr", "ma", "bincr"), "arith"),
    **dict.fromkeys(("touch", "gat", "gats", "btouch"), "touch"),
}
"""What a command counts as. `gat` is a touch, as in memcached's own `cmd_touch`."""


class TracedInstance(NamedTuple):
    """One instance: the inventory's name of its host, and its port."""

    host: str
    port: int


@dataclass(slots=True)
class Truth:
    """Requests that a memcached has answered, by instance, key and verb. Truths add up with `+`."""

    counts: dict[TracedInstance, Counter[tuple[bytes, Verb]]] = field(default_factory=dict)

    def add(self, instance: TracedInstance, verb: Verb, keys: Iterable[bytes]) -> None:
        """Count one answered command that named `keys`."""
        self.counts.setdefault(instance, Counter()).update((key, verb) for key in keys)

    def update(self, other: Truth) -> None:
        """Take in another truth, in place."""
        for instance, counter in other.counts.items():
            self.counts.setdefault(instance, Counter()).update(counter)

    def __add__(self, other: Truth) -> Truth:
        both = Truth()
        both.update(self)
        both.update(other)
        return both

    @property
    def instances(self) -> list[TracedInstance]:
        return sorted(self.counts)

    def _items(self, host: str | None, port: int | None) -> Iterator[tuple[bytes, Verb, int]]:
        for instance, counter in self.counts.items():
            if host in (None, instance.host) and port in (None, instance.port):
                for (key, verb), count in counter.items():
                    yield key, verb, count

    def by_key(self, host: str | None = None, port: int | None = None) -> Counter[bytes]:
        """Requests per key: of the whole fleet, of a host, or of one instance."""
        found: Counter[bytes] = Counter()
        for key, _, count in self._items(host, port):
            found[key] += count
        return found

    def by_op(self, host: str | None = None, port: int | None = None) -> Counter[tuple[bytes, Op]]:
        """Requests per key and kind of command."""
        found: Counter[tuple[bytes, Op]] = Counter()
        for key, verb, count in self._items(host, port):
            found[key, OP_OF_VERB.get(verb, "other")] += count
        return found

    def by_verb(self, host: str | None = None, port: int | None = None) -> Counter[Verb]:
        """Requests per command, all keys together."""
        found: Counter[Verb] = Counter()
        for _, verb, count in self._items(host, port):
            found[verb] += count
        return found

    def total(self, host: str | None = None, port: int | None = None) -> int:
        """Requests in all."""
        return sum(count for _, _, count in self._items(host, port))

    def to_json(self) -> str:
        """Text that `from_json` reads back; keys are base64."""
        return json.dumps(
            [
                [*instance, [[base64.b64encode(key).decode(), verb, count] for (key, verb), count in counter.items()]]
                for instance, counter in self.counts.items()
            ]
        )

    @classmethod
    def from_json(cls, text: str) -> Truth:
        """The truth that `to_json` wrote down."""
        return cls(
            {
                TracedInstance(host, port): Counter({(base64.b64decode(key), verb): count for key, verb, count in rows})
                for host, port, rows in json.loads(text)
            }
        )
