"""What keys that were not read to their end do to the bounds of the others.

A cut key stands for every key that begins with its bytes and has its length. A key that was read to its end may be one
of them elsewhere, on a host whose bpftrace could not read it, so it can have had their requests too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fleettrace.summary.counts import KeyCount
from fleettrace.summary.key import KEY_MAX_LENGTH, Key

__all__ = ["CutKeys"]


class CutKeys:
    """The cut keys among those listed."""

    def __init__(self, listed: Iterable[tuple[Key, KeyCount]]) -> None:
        self._requests: Counter[tuple[bytes, int]] = Counter()
        for key, count in listed:
            if key.truncated:
                self._requests[key] += count.requests
        self._sizes = sorted({len(data) for data, _ in self._requests})

    def may_be(self, key: Key) -> int:
        """Return how many requests of cut keys may have been for `key`."""
        if not self._requests or key.truncated:
            return 0
        # A line that was cut does not say how long its last key is: such a one has the greatest length.
        lengths = {key.length, KEY_MAX_LENGTH}
        return sum(
            self._requests[key.data[:size], length] for size in self._sizes if size < key.length for length in lengths
        )
