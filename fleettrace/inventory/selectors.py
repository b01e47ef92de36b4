"""Select memcached instances of a host by port, container name or user."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from fleettrace.errors import ConfigError

__all__ = ["InstanceSelector", "SelectorKind"]


class SelectorKind(StrEnum):
    """The property that a selector compares."""

    PORT = "port"
    CONTAINER = "container"
    USER = "user"


@dataclass(frozen=True, slots=True)
class InstanceSelector:
    """One item of `fleettrace_instances`."""

    kind: SelectorKind
    value: str
    """A port in digits, a glob over container names, or a user's name."""

    @classmethod
    def parse(cls, item: object, error: Callable[[str], ConfigError]) -> InstanceSelector:
        """Parse `11211`, `port:11211`, `container:NAME-GLOB` or `user:NAME`. Raises the result of `error(message)`."""
        text = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
        if not isinstance(text, str):
            raise error(f"expected {_FORMS}, not {item!r}")
        word, colon, value = text.strip().partition(":")
        kind, value = (word.strip(), value.strip()) if colon else ("port", word)
        if kind not in list(SelectorKind) or not value or not value.isprintable():
            raise error(f"expected {_FORMS}, not {item!r}")
        if kind == SelectorKind.PORT:
            if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= 65535):
                raise error(f"{item!r}: expected a port from 1 to 65535")
            value = str(int(value))
        return cls(SelectorKind(kind), value)

    def matches(self, ports: Collection[int], container: str | None, user: str | None) -> bool:
        """Return whether it selects an instance that listens on `ports`, in this container, run by this user."""
        if self.kind is SelectorKind.PORT:
            return int(self.value) in ports
        if self.kind is SelectorKind.USER:
            return user == self.value
        return container is not None and fnmatch.fnmatchcase(container, self.value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


_FORMS = "a port number, port:11211, container:NAME or user:NAME"
