"""Reading what a fleettrace program makes bpftrace print, without loss, from any version of bpftrace.

A program prints text (JSON output loses keys, see docs/probes.md), NONCE being some letters that nobody else knows:

    Attaching 4 probes...
    #NONCE start NS                    counting has begun
    #NONCE slice a|b NS                a slice has ended; its maps follow
    @na_NONCE[PID]: TOTAL              exact requests of the slice, by process
    @a_NONCE[ABOUT, WORD, WORD...]: N  the largest entries with a short key, in any order
    @c_NONCE[ABOUT, KEY, KEY...]: N    and of @c (@d, when the slice is b's) those with a long one, in pieces
    #NONCE end                         that was all of the slice
    #NONCE last a|b NS                 like `slice`, for the slice that the end of the trace cut short
    @m_NONCE[ABOUT, WORD, WORD...]: N  misses by short key, and @v: bytes written; of the whole window, printed once
    @n_NONCE[ABOUT, KEY, KEY...]: N    the same by long key, and @u

ABOUT is one number, process id << 32 | kind of request << 16 | length of the key, to keep the map's key small. A short
key stands in integers and holds any byte (words.py). A long one may hold any byte but NUL, newlines and `]: 7`
included. It ends where `]: N` stands before something that only the
program can have printed, which the nonce tells: no client can choose a key that passes for more than a key. Whether all
of it came through, its length says, which is memcached's own. When
bpftrace is stopped early it prints the maps as they are, with no `last`; the time of the end is then `@now`, which the
program keeps to within 100 ms. Stopped while it prints a slice, it prints that slice's maps once more, and once more
too when it has not come to clear them: `@w` says which map was being filled (odd: @a, even: @b). `@_asked` is the first
map printed then and `@w` the last. Whether that came matters: a signal that finds bpftrace waiting for a reader loses
what it was writing, and from some versions on all that it would have written after that.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from fleettrace.node.entries import Entry, RawSlice, largest, printed_again, prune
from fleettrace.node.plausible import MAX_INTEGER, ImplausibleError, OutputBounds, integer
from fleettrace.node.short_keys import WORDS, WORDS_MAX, WORDS_SHOWN, key_of_words

__all__ = ["Attached", "Entry", "OutputParser", "RawSlice", "Started", "UnparsedLine"]

_LONG = {b"c": "a", b"d": "b"}
"""The maps of long keys, and the slice each belongs to."""
_KEPT = {b"m": "misses", b"n": "misses", b"v": "bytes", b"u": "bytes"}
"""The maps of the whole window, and what they hold."""
_PIECES = b"cdnu"
"""The maps whose keys stand in pieces; those of the others stand in integers."""
_ATTACHED = re.compile(rb"Attach(?:ing|ed) (\d{1,6}) probes?")

# A NUL stands for the nonce, so that these serve every program.
_OURS = rb"(?:@\w+_\0[\[:]|#\0 )"
_OPENING = re.compile(rb"@([abcdmnuv])_\0\[(\d+), ")
_TOTAL = re.compile(rb"@n([ab])_\0\[(\d+)\]: (\d+)$")
_NOW = re.compile(rb"@now_\0: (\d+)$")
_STOPPED = re.compile(rb"@_asked_\0: ")
_FILLED = re.compile(rb"@w_\0: (\d+)$")
_MARK = re.compile(rb"#\0 (start|slice|last|end)(?: ([ab]))?(?: (\d+))?$")
_MAP_LINE = re.compile(rb"@\w+_\0[\[:]")
_TAIL = re.compile(rb"\]: (\d+)\n(?=\n*%b)" % _OURS)

_JOINT = b", "
_LINE_MAX = 8192
"""Bytes in the longest line taken: an entry with a long key has some 400."""
_TAIL_MAX = 96
"""Bytes of `]: N` with the longest 64-bit N, and of what shows that it is one."""
_ABOUT_MAX = (1 << 64) - 1

_HEADS_KEPT = 4096
"""What an entry begins with is the same in every slice: so many of these are remembered, a megabyte or so."""


@cache
def _plain(name: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Entries of the map `name`, whose keys stand in integers: a row of them, and one in such a row."""
    begin = rb"@%b_\0\[" % name
    # Not `++`: CPython before 3.11.5 ends a group repeated so in the middle of an entry (python/cpython#106052).
    row = rb"(?:%b\d{1,19}%b\]: \d{1,18}\n(?=\n*%b))+" % (begin, WORDS_SHOWN, _OURS)
    return re.compile(row), re.compile(rb"%b(\d{1,19}%b)\]: (\d{1,18})\n" % (begin, WORDS_SHOWN))


class Attached(NamedTuple):
    """bpftrace says how many probes it attaches."""

    probes: int


class Started(NamedTuple):
    """Counting has begun, at this time of the node's monotonic clock."""

    ns: int


class UnparsedLine(NamedTuple):
    """A line that the program does not print: bpftrace's own words."""

    line: bytes


Event = Attached | Started | UnparsedLine | RawSlice


class OutputParser:
    """Takes what bpftrace prints as it comes, and gives what it means: in linear time, within `bounds`.

    A short key stands in integers; a long one in `pieces` strings of up to `piece` bytes, joined by ", " as bpftrace
    joins the parts of a map's key. `nonce` is the program's.
    """

    def __init__(self, piece: int, pieces: int, nonce: str, bounds: OutputBounds | None = None) -> None:
        self._bounds = bounds or OutputBounds()
        self._most_entries = self._bounds.max_entries
        self._entries = self._slices = 0
        """How many were printed so far."""
        self._started = False
        self._piece = piece
        self._pieces = pieces
        own = nonce.encode()
        self._signs = [(b"_%b[" % own, b"_\0["), (b"_%b:" % own, b"_\0:"), (b"#%b " % own, b"#\0 ")]
        """What only the program prints, and what stands for it in the buffer: bpftrace prints no NUL."""
        self._begun = {sign[:size] for sign, _ in self._signs for size in range(len(sign))}
        self._plain = {name.decode(): _plain(name) for name in (b"a", b"b")}
        self._heads: dict[bytes, tuple[int, int, int, bytes]] = {}
        """The first four fields of entries, by how they are shown."""
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
        """Return the events that `data` completes; a line that cannot be parsed is an `UnparsedLine`.

        Raises `ImplausibleError` for a line with the program's nonce that the program cannot have printed: numbers that
        no kernel counts, or more than it prints.
        """
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
            self._open = printed_again(self._broken_off, self._loose.pop(self._broken_off.map, None))
        # What was printed and not cleared yet is no second slice.
        self._loose.pop(self._printed, None)
        for part in self._loose.values():
            prune(part, self._bounds.printed)
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
            if self._open is not None:
                position = self._plain_entries(buffer, position, self._open)
                if len(self._shown) > 4 * self._bounds.printed:
                    self._open.pruned = True
                    self._shown = largest(self._shown, self._bounds.printed)
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
                    events.append(UnparsedLine(buffer[position : position + 200]))
                    position = len(buffer)
                break
            self._line(buffer[position:newline], events)
            position = newline + 1
        self._buffer = buffer[position:]
        return events

    def _plain_entries(self, buffer: bytes, position: int, into: RawSlice) -> int:
        """Read the entries of the open slice that `_entry` would read likewise, with less ado: those with short
        keys, as nearly all are. Gives where they end."""
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
            number, _, words = shown.partition(_JOINT)
            about = int(number)
            heads[shown] = (about >> 32, about >> 16 & 0xFFFF, about & 0xFFFF, key_of_words(words, about & 0xFFFF))
        self._add(len(found))
        self._shown |= {shown: make(Entry, (*heads[shown], int(requests), False)) for shown, requests in found.items()}
        return row.end()

    def _entry(self, buffer: bytes, head: re.Match[bytes]) -> int | None:
        """Read the entry that begins with `head`: where the next item begins, None for more data needed, 0 for none."""
        start, about = head.end(), integer(head[2], _ABOUT_MAX, "an entry's first number")
        length, pieces = about & 0xFFFF, self._pieces if head[1] in _PIECES else 0
        longest = self._piece * pieces + len(_JOINT) * (pieces - 1) if pieces else WORDS_MAX
        sign = buffer.find(b"\0", start, start + longest + _TAIL_MAX)
        # Of the program's next words, of which a NUL is the last byte but one, the end of the entry wants to see all.
        found = _TAIL.search(buffer, start, sign + 2 if sign >= 0 else start + longest + _TAIL_MAX)
        if sign >= 0 and found is None:
            # It broke off, and something else was printed after it.
            return max(0, buffer.rfind(b"#" if buffer[sign - 1 : sign] == b"#" else b"@", start, sign))
        if found is None:
            return None if len(buffer) < start + longest + _TAIL_MAX else 0
        shown = buffer[start : found.start()]
        if not pieces and not WORDS.fullmatch(shown):
            return 0
        key = self._join(shown, length, pieces) if pieces else key_of_words(shown, length)
        long = _LONG.get(head[1])
        requests = integer(found[1], MAX_INTEGER, "an entry's count")
        entry = Entry(about >> 32, about >> 16 & 0xFFFF, length, key, requests, pieces > 0)
        self._add(1)
        if kept := _KEPT.get(head[1]):
            # Printed again by a bpftrace that was stopped meanwhile: the last count is right.
            entries = self._kept[kept]
            entries[head[0], shown] = entry
            if len(entries) > 2 * self._bounds.kept:
                self._kept[kept] = largest(entries, self._bounds.kept)
            return found.end()
        into = self._slice(long or head[1].decode())
        if into is self._open:
            # Printed again by a bpftrace that was stopped meanwhile: the same entry, and its last count.
            self._shown[head[0] + shown if long else head[2] + _JOINT + shown] = entry
        else:
            into.entries.append(entry)
            if len(into.entries) > 4 * self._bounds.printed:
                into.pruned = True
                prune(into, self._bounds.printed)
        return found.end()

    def _add(self, entries: int) -> None:
        self._entries += entries
        if self._entries > self._most_entries:
            raise ImplausibleError(f"more than {self._most_entries} entries of maps in one trace")

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
        if name not in self._loose:
            self._loose[name] = RawSlice(name, None)
        return self._loose[name]

    def _fill(self) -> None:
        """Put the entries of the open slice into it."""
        if self._open is not None:
            self._open.entries.extend(self._shown.values())
            prune(self._open, self._bounds.printed)

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            return
        if mark := _MARK.match(line):
            self._marked(mark, events)
        elif total := _TOTAL.match(line):
            totals = self._slice(total[1].decode()).totals
            pid = integer(total[2], MAX_INTEGER, "a process id")
            totals[pid] = integer(total[3], MAX_INTEGER, "a total")
            if len(totals) > self._bounds.totals:
                raise ImplausibleError("totals of more processes than are traced")
        elif now := _NOW.match(line):
            self.now_ns = integer(now[1], MAX_INTEGER, "a time")
        elif _STOPPED.match(line):
            if self._open is not None:
                self._fill()
                self._broken_off, self._open = self._open, None
        elif filled := _FILLED.match(line):
            self.complete = True
            if self._printed == "ba"[int(filled[1][-1:]) % 2] and not self._last:
                self._printed = ""
        elif attached := _ATTACHED.match(line):
            events.append(Attached(int(attached[1])))
        elif not _MAP_LINE.match(line):
            events.append(UnparsedLine(line[:200]))

    def _marked(self, mark: re.Match[bytes], events: list[Event]) -> None:
        word, name, ns = mark[1], (mark[2] or b"").decode(), integer(mark[3] or b"0", MAX_INTEGER, "a time")
        if word == b"start":
            if self._started:
                raise ImplausibleError("a trace that started twice")
            self._started = True
            events.append(Started(ns))
            return
        if self._open is not None:
            self._fill()
            self._open.whole = word == b"end"
            if self._open.whole and self._open.pruned:
                raise ImplausibleError(f"more than {self._bounds.printed} entries in one slice of a map")
            self.complete |= self._last and self._open.whole
            self._printed = self._open.map
            events.append(self._open)
            self._open = None
        if word in (b"slice", b"last"):
            self._slices += 1
            if self._slices > self._bounds.slices:
                raise ImplausibleError(f"more than {self._bounds.slices} slices")
            self._open, self._shown, self._last = RawSlice(name, ns), {}, word == b"last"


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
