"""Reading what a fleettrace program makes bpftrace print, without loss, from any version of bpftrace.

A program prints text (JSON output loses keys, see docs/probes.md):

    Attaching 4 probes...
    #start NS                        counting has begun
    #slice a|b NS                    a slice has ended; its map follows
    @na[PID]: TOTAL                  exact requests of the slice, by process
    @a[PID, TAG, LENGTH, KEY...]: N  the largest entries, in any order; the key in one string or in pieces
    #end                             that was all of the slice
    #last a|b NS                     like #slice, for the slice that the end of the trace cut short

A key may hold any byte but NUL, newlines and `]: 7` included; LENGTH, which memcached itself says, tells where it ends.
A LENGTH of 0 marks a line of the ascii protocol, which cannot hold a newline: it ends where the line does. When
bpftrace is stopped early it prints the maps as they are, with no `#last`; the time of the end is then `@now`, which
the program keeps to within 100 ms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Attached", "Entry", "Noise", "OutputParser", "RawSlice", "Started"]

_ENTRY = re.compile(rb"@([ab])\[(\d+), (-?\d+), (-?\d+), ")
_TAIL = re.compile(rb"\]: (\d+)\n")
_TOTAL = re.compile(rb"@n([ab])\[(\d+)\]: (\d+)$")
_MARK = re.compile(rb"#(start|slice|last|end)(?: ([ab]))?(?: (\d+))?$")
_ATTACHED = re.compile(rb"Attach(?:ing|ed) (\d+) probes?")
_NOW = re.compile(rb"@now: (\d+)$")

_JOINT = b", "
_LINE_MAX = 8192
"""Bytes in the longest line taken: a key of 250, or a command line of 2,048 (memcached's limit), and its figures."""
_TAIL_MAX = 32
"""Bytes of `]: N` with the longest 64-bit N, and room."""


class Attached(NamedTuple):
    """bpftrace says how many probes it attaches."""

    probes: int


class Started(NamedTuple):
    """Counting has begun, at this time of the node's monotonic clock."""

    ns: int


class Noise(NamedTuple):
    """A line that the program does not print: bpftrace's own words."""

    line: bytes


class Entry(NamedTuple):
    """One entry of a slice's map."""

    pid: int
    tag: int
    length: int
    """What memcached says of the key's length, in bytes; 0 for a line of the ascii protocol."""
    data: bytes
    requests: int


@dataclass(slots=True)
class RawSlice:
    """One slice as printed. `end_ns` is None when the trace was stopped before the slice's end."""

    map: str
    end_ns: int | None
    totals: dict[int, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return not self.totals and not self.entries


Event = Attached | Started | Noise | RawSlice


class OutputParser:
    """Takes what bpftrace prints as it comes, and gives what it means.

    A key stands in `pieces` strings of up to `piece` bytes each, joined by ", " as bpftrace joins a map's key.
    """

    def __init__(self, piece: int, pieces: int) -> None:
        self._piece = piece
        self._pieces = pieces
        self._longest = piece * pieces + len(_JOINT) * (pieces - 1)
        self._buffer = b""
        self._open: RawSlice | None = None
        self._loose: dict[str, RawSlice] = {}
        self.now_ns: int | None = None
        """The node's clock at the end of the trace, once `@now` was printed."""

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes. Never raises: what cannot be understood is `Noise`."""
        self._buffer += data
        return self._drain(final=False)

    def finish(self) -> list[Event]:
        """What is left at the end of the output; a slice that was never closed counts as one cut short."""
        if self._buffer and not self._buffer.endswith(b"\n"):
            self._buffer += b"\n"
        events = self._drain(final=True)
        for part in [self._open, *self._loose.values()]:
            if part is not None and not part.empty:
                events.append(part)
        self._open, self._loose = None, {}
        return events

    def _drain(self, *, final: bool) -> list[Event]:
        events: list[Event] = []
        buffer, position = self._buffer, 0
        while position < len(buffer):
            found = self._entry(buffer, position, final) if buffer.startswith((b"@a[", b"@b["), position) else -1
            if found == 0:
                break
            if found > 0:
                position = found
                continue
            newline = buffer.find(b"\n", position)
            if newline < 0:
                if len(buffer) - position > _LINE_MAX:
                    events.append(Noise(buffer[position : position + 200]))
                    position = len(buffer)
                break
            self._line(buffer[position:newline], events)
            position = newline + 1
        self._buffer = buffer[position:]
        return events

    def _entry(self, buffer: bytes, position: int, final: bool) -> int:
        """Read the entry at `position`: where the next item begins, 0 for more data needed, -1 for not an entry."""
        head = _ENTRY.match(buffer, position)
        if head is None:
            whole = b"\n" in buffer[position : position + 100] or len(buffer) - position >= 100
            return -1 if whole or final else 0
        start, length = head.end(), int(head[4])
        tail = self._tail(buffer, start, length, final)
        if tail is None:
            missing = len(buffer) - start <= (_LINE_MAX if length == 0 else self._longest) + _TAIL_MAX
            return 0 if missing and not final else -1
        shown = buffer[start : tail.start()]
        key = shown if length == 0 else self._join(shown, length)
        entry = Entry(int(head[2]), int(head[3]), length, key, int(tail[1]))
        self._slice(head[1].decode()).entries.append(entry)
        return tail.end()

    def _tail(self, buffer: bytes, start: int, length: int, final: bool) -> re.Match[bytes] | None:
        """The end of the entry whose key begins at `start`: where the key's length puts it, else where a NUL in the
        key (the binary protocol allows it) made bpftrace stop."""
        if length == 0:
            newline = buffer.find(b"\n", start)
            at = buffer.rfind(b"]: ", start, newline) if newline >= 0 else -1
            return _TAIL.match(buffer, at) if at >= 0 else None
        shown = min(max(length, 0), self._piece * self._pieces) + len(_JOINT) * (self._pieces - 1)
        if tail := _TAIL.match(buffer, start + shown):
            return tail
        if len(buffer) < start + shown + _TAIL_MAX and not final:
            return None
        return _TAIL.search(buffer, start, start + shown + _TAIL_MAX)

    def _join(self, shown: bytes, length: int) -> bytes:
        """The key from the pieces as shown: as far as it came through."""
        sizes = [min(self._piece, max(0, length - index * self._piece)) for index in range(self._pieces)]
        missing = sum(sizes) + len(_JOINT) * (self._pieces - 1) - len(shown)
        if missing == 0:
            return b"".join(_cut(shown, sizes) or [shown])
        # One piece is short, for it holds a NUL: the key is known up to there.
        for index, size in enumerate(sizes):
            if size >= missing and (pieces := _cut(shown, [*sizes[:index], size - missing, *sizes[index + 1 :]])):
                return b"".join(pieces[: index + 1])
        return shown.split(_JOINT)[0][: self._piece]

    def _slice(self, name: str) -> RawSlice:
        if self._open is not None and self._open.map == name:
            return self._open
        return self._loose.setdefault(name, RawSlice(name, None))

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            return
        if line[:2] in (b"@n", b"@w", b"@b"):
            if total := _TOTAL.match(line):
                self._slice(total[1].decode()).totals[int(total[2])] = int(total[3])
            elif now := _NOW.match(line):
                self.now_ns = int(now[1])
            return
        if mark := _MARK.match(line):
            self._mark(mark, events)
        elif attached := _ATTACHED.match(line):
            events.append(Attached(int(attached[1])))
        else:
            events.append(Noise(line[:200]))

    def _mark(self, mark: re.Match[bytes], events: list[Event]) -> None:
        word, name, ns = mark[1], (mark[2] or b"").decode(), int(mark[3] or 0)
        if word == b"start":
            events.append(Started(ns))
            return
        if self._open is not None:
            events.append(self._open)
            self._open = None
        if word in (b"slice", b"last"):
            self._open = RawSlice(name, ns)


def _cut(shown: bytes, sizes: list[int]) -> list[bytes] | None:
    """`shown` as pieces of these sizes with a joint between them; None when it does not fit."""
    pieces: list[bytes] = []
    position = 0
    for size in sizes:
        if pieces and shown[position : position + len(_JOINT)] != _JOINT:
            return None
        position += len(_JOINT) if pieces else 0
        pieces.append(shown[position : position + size])
        position += size
    return pieces if position == len(shown) else None
