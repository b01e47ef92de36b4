"""What memcached itself reports about some of a host's keys after the window, or why that is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["NEVER", "ItemFacts", "ItemGap"]

NEVER = -1
"""The time to live of an item that does not expire, as in memcached's own answers (protocol.txt)."""


class ItemGap(StrEnum):
    """Why the facts of a key are unknown."""

    ABSENT = "absent"
    NOT_ASKED = "not-asked"
    NO_ANSWER = "no-answer"
    OLD = "old-version"
    UNASKABLE = "unaskable-key"
    TLS = "tls"
    SASL = "sasl"
    AUTH_FILE = "auth-file"
    BINARY = "binary-protocol"
    UNIX = "unix-socket"
    PROXY = "proxy"

    @property
    def text(self) -> str:
        """The reason, for people."""
        return _TEXTS[self]


_TEXTS = {
    ItemGap.ABSENT: "memcached did not have the key when it was asked: expired, evicted, deleted or never stored",
    ItemGap.NOT_ASKED: "memcached was not asked about this key",
    ItemGap.NO_ANSWER: "memcached did not answer on its port",
    ItemGap.OLD: "this memcached has no command `me` (before 1.5.19)",
    ItemGap.UNASKABLE: "the key is truncated, or has bytes that the text protocol cannot carry",
    ItemGap.TLS: "memcached speaks only TLS",
    ItemGap.SASL: "memcached requires SASL",
    ItemGap.AUTH_FILE: "memcached requires a password (-Y)",
    ItemGap.BINARY: "memcached speaks only the binary protocol",
    ItemGap.UNIX: "memcached listens on a unix socket only",
    ItemGap.PROXY: "memcached is a proxy, which stores no item",
}


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """One item at the moment of the question. If `gap` is set, nothing else is known."""

    size: int | None = None
    """Bytes of the value. 4 too many if the item has client flags, which the answer does not show."""
    ttl_s: int | None = None
    """Seconds until it expires; `NEVER`."""
    last_access_s: int | None = None
    """Seconds since the last access that memcached noted: once a minute for an item that is busy."""
    slab_class: int | None = None
    fetched: bool | None = None
    """A client has fetched it since it was stored."""
    gap: ItemGap | None = None
