"""Reading what a fleettrace program makes bpftrace print, without loss, from any version of bpftrace.

A program prints text (JSON output loses keys, see docs/probes.md), NONCE being some letters that nobody else knows:

    Attaching 4 probes...
    #NONCE start NS                    counting has begun
    #NONCE slice a|b NS                a slice has ended; its maps follow
    @na_NONCE[PID]: TOTAL              exact requests of the slice, by process
    @a_NONCE[ABOUT, KEY]: N            the largest entries with a short key, in any order
    @c_NONCE[ABOUT, KEY, KEY...]: N    and of @c (@d, when the slice is b's) those with a long one, in pieces
    #NONCE end                         that was all of the slice
    #NONCE last a|b NS                 like `slice`, for the slice that the end of the trace cut short
    @m_NONCE[ABOUT, KEY, KEY...]: N    misses by key, and @v: bytes written; kept for the whole window, printed once

ABOUT is one number, process id << 32 | kind of request << 16 | length of the key, to keep the map's key small. A key
may hold any byte but NUL, newlines and `]: 7` included. It ends where `]: N` stands before something that only the
program can have printed, which the nonce tells: no client can choose a key that passes for more than a key. Whether all
of it came through, its length says, which is memcached's own; a length of 0 marks a line of the ascii protocol. When
bpftrace is stopped early it prints the maps as they are, with no `last`; the time of the end is then `@now`, which the
program keeps to within 100 ms. Stopped while it prints a slice, it prints that slice's maps once more, and once more
too when it has not come to clear them: `@w` says which map was being filled (odd: @a, even: @b). `@_asked` is the first
map printed then and `@w` the last. Whether that came matters: a signal that finds bpftrace waiting for a reader loses
what it was writing, and from some versions on all that it would have written after that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

__all__ = ["Attached", "Entry", "Noise", "OutputParser", "RawSlice", "Started"]

_LONG = {b"c": "a", b"d": "b"}
"""The maps of long keys, and the slice each belongs to."""
_KEPT = {b"m": "misses", b"v": "bytes"}
"""The maps of the whole window, whose keys stand in pieces too, and what they hold."""
_ATTACHED = re.compile(rb"Attach(?:ing|ed) (\d+) probes?")

# A NUL stands for the nonce, so that these serve every program.
_OURS = rb"(?:@\w+_\0[\[:]|#\0 )"
_OPENING = re.compile(rb"@([abcdmv])_\0\[(\d+), ")
_TOTAL = re.compile(rb"@n([ab])_\0\[(\d+)\]: (\d+)$")
_NOW = re.compile(rb"@now_\0: (\d+)$")
_STOPPED = re.compile(rb"@_asked_\0: ")
_FILLED = re.compile(rb"@w_\0: (\d+)$")
_MARK = re.compile(rb"#\0 (start|slice|last|end)(?: ([ab]))?(?: (\d+))?$")
_MAP_LINE = re.compile(rb"@\w+_\0[\[:]")
_TAIL = re.compile(rb"\]: (\d+)\n(?=\n*%b)" % _OURS)

_JOINT = b", "
_LINE_MAX = 8192
"""Bytes in the longest line taken: a key of 250, or a command line of 2,048 (memcached's limit), and its figures."""
_TAIL_MAX = 96
"""Bytes of `]: N` with the longest 64-bit N, and of what shows that it is one."""


_HEADS_KEPT = 4096
"""What an entry begins with is the same in every slice: so many of these are remembered, a megabyte or so."""


@cache
def _plain(piece: int, name: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Entries of the map `name` with a short key that holds no newline: a row of them, and one in such a row."""
    begin = rb"@%b_\0\[" % name
    # Not `++`: CPython before 3.11.5 ends a group repeated so in the middle of an entry (python/cpython#106052).
    row = rb"(?:%b\d+, [^\n\0]{0,%d}\]: \d+\n(?=\n*%b))+" % (begin, piece, _OURS)
    return re.compile(row), re.compile(rb"%b(\d+, [^\n]*)\]: (\d+)\n" % begin)


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
    long: bool
    """Whether it stood in the map of long keys."""


@dataclass(slots=True)
class RawSlice:
    """One slice as printed. `end_ns` is None when the trace was stopped before the slice's end."""

    map: str
    end_ns: int | None
    totals: dict[int, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    whole: bool = field(default=False, compare=False)
    """The program printed it to its end, the largest entries of each map; else it is what was printed at an early end,
    which is all of it, or a part."""

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return not self.totals and not self.entries


Event = Attached | Started | Noise | RawSlice


class OutputParser:
    """Takes what bpftrace prints as it comes, and gives what it means.

    A short key stands in one string of up to `piece` bytes; a long one in `pieces` of them, joined by ", " as bpftrace
    joins the parts of a map's key. `nonce` is the program's.
    """

    def __init__(self, piece: int, pieces: int, nonce: str) -> None:
        self._piece = piece
        self._pieces = pieces
        own = nonce.encode()
        self._signs = [(b"_%b[" % own, b"_\0["), (b"_%b:" % own, b"_\0:"), (b"#%b " % own, b"#\0 ")]
        """What only the program prints, and what stands for it in the buffer: bpftrace prints no NUL."""
        self._begun = {sign[:size] for sign, _ in self._signs for size in range(len(sign))}
        self._plain = {name.decode(): _plain(piece, name) for name in (b"a", b"b")}
        self._heads: dict[bytes, tuple[int, int, int, bytes]] = {}
        """The first four fields of entries, by how they are shown."""
        self._lines = False
        """Whether entries stand for lines of the ascii protocol."""
        self._buffer = b""
        self._open: RawSlice | None = None
        self._shown: dict[bytes, Entry] = {}
        """The entries of the open slice, by how they are shown."""
        self._last = False
        """Whether the open slice, or the one before, is the trace's last one."""
        self._printed = ""
        """The map of the last slice that was printed to its end, until it is filled again."""
        self._loose: dict[str, RawSlice] = {}
        self._broken_off: RawSlice | None = None
        """The slice that bpftrace was printing when it was stopped."""
        self.complete = False
        """Whether all was printed: by the program at its end, or by bpftrace when it was stopped."""
        self.now_ns: int | None = None
        """The node's clock at the end of the trace, once `@now` was printed."""
        self._kept: dict[str, dict[tuple[bytes, bytes], Entry]] = {what: {} for what in _KEPT.values()}

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes. Never raises: what cannot be understood is `Noise`."""
        buffer = self._buffer + data
        for sign, short in self._signs:
            buffer = buffer.replace(sign, short)
        # What may be half a sign waits for the rest of it, so that nothing depends on how the output was cut.
        half = max(len(begun) for begun in self._begun if buffer.endswith(begun))
        self._buffer = buffer[: len(buffer) - half]
        events = self._drain()
        self._buffer += buffer[len(buffer) - half :]
        return events

    def finish(self, *, whole: bool = True) -> list[Event]:
        """What is left at the end of the output; a slice that was never closed counts as one cut short.

        What has no end or nothing behind it is left out: half a number is a number too. Where the output broke off, not
        `whole`, so is what has no end of its own. A slice that was being printed is kept if it came to its entries: its
        exact totals are printed before them, and bound what is missing of it.
        """
        self._buffer = b""
        self._fill()
        if not whole:
            if self._open is not None and not (self._open.totals and self._open.entries):
                self._open = None
            self._loose, self.now_ns = {}, None
        elif self._broken_off is not None:
            self._open = _printed_again(self._broken_off, self._loose.pop(self._broken_off.map, None))
        # What was printed and not cleared yet is no second slice.
        self._loose.pop(self._printed, None)
        parts: list[Event] = [part for part in (self._open, *self._loose.values()) if part and not part.empty]
        self._open, self._broken_off, self._loose = None, None, {}
        return parts

    def kept(self, what: str) -> list[Entry]:
        """The entries of a map of the whole window: `misses` or `bytes`."""
        return list(self._kept[what].values())

    def _drain(self) -> list[Event]:
        events: list[Event] = []
        buffer, position = self._buffer, 0
        while position < len(buffer):
            if self._open is not None and not self._lines:
                position = self._plain_entries(buffer, position, self._open)
            if head := _OPENING.match(buffer, position):
                end = self._entry(buffer, head)
                if end is None:
                    break
                if end > 0:
                    position = end
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

    def _plain_entries(self, buffer: bytes, position: int, into: RawSlice) -> int:
        """Read the entries of the open slice that `_entry` would read likewise, with less ado: in one string, without a
        newline, as nearly all are. Gives where they end."""
        plain = self._plain.get(into.map)
        row = plain[0].match(buffer, position) if plain else None
        if plain is None or row is None:
            return position
        heads, make = self._heads, tuple.__new__
        # Of an entry that was printed again, the last count.
        found = dict(plain[1].findall(buffer, position, row.end()))
        new = found.keys() - heads.keys()
        if len(heads) + len(new) > _HEADS_KEPT:
            heads.clear()
            new = set(found)
        for shown in new:
            number, _, key = shown.partition(_JOINT)
            about = int(number)
            self._lines |= about & 0xFFFF == 0
            heads[shown] = (about >> 32, about >> 16 & 0xFFFF, about & 0xFFFF, key)
        if self._lines:
            return position
        self._shown |= {shown: make(Entry, (*heads[shown], int(requests), False)) for shown, requests in found.items()}
        return row.end()

    def _entry(self, buffer: bytes, head: re.Match[bytes]) -> int | None:
        """Read the entry that begins with `head`: where the next item begins, None for more data needed, 0 for none."""
        start, about = head.end(), int(head[2])
        length, pieces = about & 0xFFFF, self._pieces if head[1] in _LONG or head[1] in _KEPT else 1
        longest = _LINE_MAX if length == 0 else self._piece * pieces + len(_JOINT) * (pieces - 1)
        found = _TAIL.search(buffer, start, start + longest + _TAIL_MAX)
        sign = buffer.find(b"\0", start, found.start() if found else start + longest + _TAIL_MAX)
        if sign >= 0:
            # It broke off, and something else was printed after it.
            return max(0, buffer.rfind(b"#" if buffer[sign - 1 : sign] == b"#" else b"@", start, sign))
        if found is None:
            return None if len(buffer) < start + longest + _TAIL_MAX else 0
        shown = buffer[start : found.start()]
        key = shown if length == 0 or pieces == 1 else self._join(shown, length, pieces)
        long = _LONG.get(head[1])
        entry = Entry(about >> 32, about >> 16 & 0xFFFF, length, key, int(found[1]), long is not None)
        if kept := _KEPT.get(head[1]):
            # Printed again by a bpftrace that was stopped meanwhile: the last count is right.
            self._kept[kept][head[0], shown] = entry
            return found.end()
        into = self._slice(long or head[1].decode())
        if into is self._open:
            # Printed again by a bpftrace that was stopped meanwhile: the same entry, and its last count.
            self._shown[head[0] + shown if long else head[2] + _JOINT + shown] = entry
        else:
            into.entries.append(entry)
        return found.end()

    def _join(self, shown: bytes, length: int, pieces: int) -> bytes:
        """A long key from its pieces as shown: as far as it came through."""
        sizes = [min(self._piece, max(0, length - index * self._piece)) for index in range(pieces)]
        missing = sum(sizes) + len(_JOINT) * (pieces - 1) - len(shown)
        if missing == 0:
            return b"".join(_cut(shown, sizes) or [shown])
        # One piece is short, for it holds a NUL (the binary protocol allows it): the key is known up to there.
        for index, size in enumerate(sizes):
            if size >= missing and (parts := _cut(shown, [*sizes[:index], size - missing, *sizes[index + 1 :]])):
                return b"".join(parts[: index + 1])
        return shown.split(_JOINT)[0][: self._piece]

    def _slice(self, name: str) -> RawSlice:
        if self._open is not None and self._open.map == name:
            return self._open
        return self._loose.setdefault(name, RawSlice(name, None))

    def _fill(self) -> None:
        """Put the entries of the open slice into it."""
        if self._open is not None:
            self._open.entries.extend(self._shown.values())

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            return
        if mark := _MARK.match(line):
            self._marked(mark, events)
        elif total := _TOTAL.match(line):
            self._slice(total[1].decode()).totals[int(total[2])] = int(total[3])
        elif now := _NOW.match(line):
            self.now_ns = int(now[1])
        elif _STOPPED.match(line):
            if self._open is not None:
                self._fill()
                self._broken_off, self._open = self._open, None
        elif filled := _FILLED.match(line):
            self.complete = True
            if self._printed == "ba"[int(filled[1]) % 2] and not self._last:
                self._printed = ""
        elif attached := _ATTACHED.match(line):
            events.append(Attached(int(attached[1])))
        elif not _MAP_LINE.match(line):
            events.append(Noise(line[:200]))

    def _marked(self, mark: re.Match[bytes], events: list[Event]) -> None:
        word, name, ns = mark[1], (mark[2] or b"").decode(), int(mark[3] or 0)
        if word == b"start":
            events.append(Started(ns))
            return
        if self._open is not None:
            self._fill()
            self._open.whole = word == b"end"
            self.complete |= self._last and self._open.whole
            self._printed = self._open.map
            events.append(self._open)
            self._open = None
        if word in (b"slice", b"last"):
            self._open, self._shown, self._last = RawSlice(name, ns), {}, word == b"last"


def _printed_again(first: RawSlice, again: RawSlice | None) -> RawSlice:
    """A slice that was being printed when bpftrace was stopped, and then `again`, unless it had been cleared.

    What came the first time may be garbled where it broke off.
    """
    if again is None or again.empty:
        return first
    if sum(entry.requests for entry in again.entries) == sum(again.totals.values()):
        return RawSlice(first.map, first.end_ns, again.totals, again.entries)
    both = {(entry[:4], entry.long): entry for entry in (*first.entries, *again.entries)}
    return RawSlice(first.map, first.end_ns, first.totals | again.totals, list(both.values()))


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
