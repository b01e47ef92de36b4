"""A key as memcached holds it: bytes, and its real length when the trace read only part of it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KEY_MAX_LENGTH", "Key"]

KEY_MAX_LENGTH = 250
"""Bytes in the longest key: KEY_MAX_LENGTH in memcached.h, the same in every version."""


class Key(NamedTuple):
    """One key. Two keys truncated to the same bytes differ by their lengths, if those differ."""

    data: bytes
    length: int
    """Bytes in the key; more than `len(data)` when the key was truncated."""

    @classmethod
    def whole(cls, data: bytes) -> Key:
        """Return a key of which every byte was read."""
        return cls(data, len(data))

    @property
    def truncated(self) -> bool:
        """Return whether `data` is only the beginning of the key."""
        return len(self.data) < self.length
