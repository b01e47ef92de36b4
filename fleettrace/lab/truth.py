"""The truth about a lab's traffic: the requests for each key, by host, instance and command.

The unit is a request: one memcached command with one key. A multiget of 100 keys is 100 requests.
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
"""The load generator's name of a command: the ascii and meta commands' own, and `b...` for the binary protocol."""

OP_OF_VERB: Mapping[Verb, Op] = {
    **dict.fromkeys(("get", "gets", "mg", "bget", "bgetk"), "get"),
    **dict.fromkeys(("set", "add", "replace", "append", "prepend", "cas", "ms", "bset"), "set"),
    **dict.fromkeys(("delete", "md", "bdelete"), "delete"),
    **dict.fromkeys(("incr", "decr", "ma", "bincr"), "arith"),
    **dict.fromkeys(("touch", "gat", "gats", "btouch"), "touch"),
}
"""The kind of each command. `gat` is a touch, as in memcached's own `cmd_touch`."""


class TracedInstance(NamedTuple):
    """One instance: its host's inventory name, and its port."""

    host: str
    port: int


@dataclass(slots=True)
class Truth:
    """Requests that memcached has answered, by instance, key and verb. `+` adds two truths."""

    counts: dict[TracedInstance, Counter[tuple[bytes, Verb]]] = field(default_factory=dict)

    def add(self, instance: TracedInstance, verb: Verb, keys: Iterable[bytes]) -> None:
        """Count one answered command with these keys."""
        self.counts.setdefault(instance, Counter()).update((key, verb) for key in keys)

    def update(self, other: Truth) -> None:
        """Add another truth to this one."""
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
        """Return the requests for each key, of the fleet, a host, or an instance."""
        found: Counter[bytes] = Counter()
        for key, _, count in self._items(host, port):
            found[key] += count
        return found

    def by_op(self, host: str | None = None, port: int | None = None) -> Counter[tuple[bytes, Op]]:
        """Return the requests for each key and kind of command."""
        found: Counter[tuple[bytes, Op]] = Counter()
        for key, verb, count in self._items(host, port):
            found[key, OP_OF_VERB.get(verb, "other")] += count
        return found

    def by_verb(self, host: str | None = None, port: int | None = None) -> Counter[Verb]:
        """Return the requests for each command, of all keys together."""
        found: Counter[Verb] = Counter()
        for _, verb, count in self._items(host, port):
            found[verb] += count
        return found

    def total(self, host: str | None = None, port: int | None = None) -> int:
        """Return the number of requests."""
        return sum(count for _, _, count in self._items(host, port))

    def to_json(self) -> str:
        """Return JSON that `from_json` reads; keys are base64."""
        return json.dumps(
            [
                [*instance, [[base64.b64encode(key).decode(), verb, count] for (key, verb), count in counter.items()]]
                for instance, counter in self.counts.items()
            ]
        )

    @classmethod
    def from_json(cls, text: str) -> Truth:
        """Return the truth of a text by `to_json`."""
        return cls(
            {
                TracedInstance(host, port): Counter({(base64.b64decode(key), verb): count for key, verb, count in rows})
                for host, port, rows in json.loads(text)
            }
        )
