"""Read a row of printed entries at once: nearly all of a trace's output are entries of one map, one after another.

The text between two entries is text that only the program can have printed, because it holds the nonce. Splitting a row
there is faster than any regular expression that matches its entries, takes linear time for any input, and separates
keys that hold newlines or `]: 7`. A row with anything else in it is left to the slower reader in output.py.
"""

from __future__ import annotations

from fleettrace.node.labels import LONG, Labels

__all__ = ["LONG_MAPS", "MAPS", "RowReader"]

LONG_MAPS = b"cdnu"
"""The maps with keys in pieces; the others have keys in integers."""
MAPS = b"abimqv" + LONG_MAPS

_MOST_KNOWN = 4096
"""A label is the same in every slice. So many are known to be valid, in half a megabyte."""
_COUNT_MAX = 10**18
_SIGN = 64
"""More bytes than a blank line and the beginning of the line after it."""


class RowReader:
    """Reads the rows of one trace. `nonce` is the program's."""

    def __init__(self, labels: Labels, nonce: bytes) -> None:
        self._labels = labels
        self._nonce = nonce
        self._marker = b"#%b " % nonce
        self._begin = {bytes([name]): b"@%c_%b[" % (name, nonce) for name in MAPS}
        self._next = (self._marker, *self._begin.values(), *(b"@n%c_%b[" % (name, nonce) for name in b"ab"))
        self._known: set[bytes] = set()

    def read(self, buffer: bytes, position: int, name: bytes) -> tuple[dict[bytes, int] | None, int]:
        """Return the requests by label of the entries of map `name` from `position` on, and the position after them.

        Without a row to read at once there, the entries are None; there is none up to the returned position.
        """
        begin = self._begin[name]
        long = name in LONG_MAPS
        stop = buffer.find(self._marker, position)
        stop = stop if stop >= 0 else len(buffer)
        last = buffer.rfind(b"\n" + begin, position, stop)
        # A short key holds no newline, so that its line has an end, and the text behind may confirm the last entry too.
        end = -1 if long else buffer.find(b"\n", max(last + 1, position), stop)
        if end < 0 or not buffer[end : end + _SIGN].lstrip(b"\n").startswith(self._next):
            end = last
        if end < 0:
            return None, stop
        row = buffer[position + len(begin) : end]
        parts = row.split(b"\n" + begin)
        if long and (row.count(self._nonce) != len(parts) - 1 or b"\0" in row):
            return None, end
        counts = _long_counts(parts) if long else _short_counts(parts)
        return counts if counts and self._valid(counts, long) else None, end + 1

    def _valid(self, counts: dict[bytes, int], long: bool) -> bool:
        if max(counts.values()) >= _COUNT_MAX:
            return False
        if new := counts.keys() - self._known:
            if not self._labels.valid(new, long):
                return False
            self._known |= new
            if len(self._known) > _MOST_KNOWN:
                self._known = new
        return True


def _short_counts(parts: list[bytes]) -> dict[bytes, int] | None:
    """Return the requests by label, None if a part is not exactly one entry with a valid label."""
    # As long as no label holds a newline, each newline stands between an entry and the next one.
    pieces = b"\n]: ".join(parts).split(b"]: ")
    labels, numbers = pieces[::2], pieces[1::2]
    digits = b"".join(numbers)
    if len(pieces) != 2 * len(parts) or digits.count(b"\n") != len(parts) - 1:
        return None
    return _numbered(labels, numbers, digits.replace(b"\n", b""))


def _long_counts(parts: list[bytes]) -> dict[bytes, int] | None:
    """Return the requests by label, None if a part is not exactly one entry."""
    pairs = [part.rsplit(b"]: ", 1) for part in parts]
    if min(map(len, pairs)) < 2:
        return None
    numbers = [number for _, number in pairs]
    return _numbered([LONG + label for label, _ in pairs], numbers, b"".join(numbers))


def _numbered(labels: list[bytes], numbers: list[bytes], digits: bytes) -> dict[bytes, int] | None:
    """Return the numbers by label, None if a label occurs twice or a number has anything but digits."""
    if not digits.isdigit():
        return None
    try:
        counts = dict(zip(labels, map(int, numbers), strict=True))
    except ValueError:
        # Nothing, or thousands of digits.
        return None
    return counts if len(counts) == len(labels) else None
