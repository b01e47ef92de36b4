"""A key as memcached holds it: bytes, and how long it really is when not all of it could be read."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KEY_MAX_LENGTH", "Key"]

KEY_MAX_LENGTH = 250
"""Bytes in the longest key: KEY_MAX_LENGTH in memcached.h, the same in every version."""


class Key(NamedTuple):
    """One key. Two keys cut to the same bytes are told apart by their lengths, where those differ."""

    data: bytes
    length: int
    """The length memcached knows, in bytes; more than `len(data)` when the key was cut."""

    @classmethod
    def whole(cls, data: bytes) -> Key:
        """The key that was read to its end."""
        return cls(data, len(data))

    @property
    def truncated(self) -> bool:
        """Whether `data` is only the beginning of the key."""
        return len(self.data) < self.length
