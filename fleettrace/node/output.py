"""Parse the output of a fleettrace program without loss, from any version of bpftrace.

The program prints text, because bpftrace's JSON output loses keys (see docs/probes.md). NONCE is a secret of the trace:

    Attaching 4 probes...
    #NONCE start NS                    counting has begun
    #NONCE slice a|b NS                a slice has ended; its maps follow
    @na_NONCE[PID]: TOTAL              exact requests of the slice, by process
    @a_NONCE[ABOUT, WORD, WORD...]: N  the largest entries with a short key, in any order
    @c_NONCE[ABOUT, KEY, KEY...]: N    and of @c (@d for a slice in b) those with a long one, in pieces
    #NONCE end                         the slice is complete
    #NONCE last a|b NS                 like `slice`, for the slice that the end of the trace cut short
    @m_NONCE[ABOUT, WORD, WORD...]: N  misses by short key, and @v: bytes written; of the complete window, printed once
    @n_NONCE[ABOUT, KEY, KEY...]: N    the same by long key, and @u
    @o_NONCE[CLIENT]: N, @q and @i     requests by client, and more of `--clients` (client_counts.py)

ABOUT is one number, process id << 32 | kind of request << 16 | length of the key, which keeps the map's key small. A
short key is printed as integers and holds any byte (entries.py). A long one may hold any byte but NUL, including
newlines and `]: 7`. It ends where `]: N` precedes text that only the program can have printed. The nonce marks such
text: no client can choose a key that resembles it. memcached's own length of the key shows whether it is complete.

A bpftrace that is stopped early prints the maps as they are, without `last`. The time of the end is then `@now`, which
the program updates every 100 ms or more often. If it was stopped while printing a slice, it prints that slice's maps
again, and again if it had not cleared them yet: `@w` shows which map was being filled (odd: @a, even: @b). `@_asked` is
the first map that it then prints, and `@w` the last. Whether `@w` was printed matters: a signal that interrupts
bpftrace while it waits for a reader loses what it was writing, and in some versions everything that it would have
written after that.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from fleettrace.node.entries import (
    WORDS,
    WORDS_MAX,
    WORDS_SHOWN,
    Entry,
    RawSlice,
    key_of_integers,
    largest,
    printed_again,
    prune,
)
from fleettrace.node.plausible import MAX_INTEGER, ImplausibleError, OutputBounds, integer

__all__ = ["Attached", "Entry", "OutputParser", "RawSlice", "Started", "UnparsedLine"]

_LONG = {b"c": "a", b"d": "b"}
"""The maps of long keys, and the slice to which each belongs."""
_WINDOW_MAPS = {b"m": "misses", b"n": "misses", b"v": "bytes", b"u": "bytes", b"q": "pairs", b"i": "peers"}
"""The maps of the complete window, and what they hold."""
_PIECES = b"cdnu"
"""The maps with keys in pieces; the others have keys in integers."""
_LENGTH_BITS = {b"q": 8}
"""The bits of ABOUT that hold the key's length, where they are not 16."""
_ATTACHED = re.compile(rb"Attach(?:ing|ed) (\d{1,6}) probes?")

# A NUL replaces the nonce, so that these patterns apply to every program.
_OURS = rb"(?:@\w+_\0[\[:]|#\0 )"
_OPENING = re.compile(rb"@([abcdimnquv])_\0\[(\d+), ")
_TOTAL = re.compile(rb"@n([ab])_\0\[(\d+)\]: (\d+)$")
_CLIENT = re.compile(rb"@o_\0\[(\d+)\]: (\d+)$")
_NOW = re.compile(rb"@now_\0: (\d+)$")
_STOPPED = re.compile(rb"@_asked_\0: ")
_FILLED = re.compile(rb"@w_\0: (\d+)$")
_MARKER = re.compile(rb"#\0 (start|slice|last|end)(?: ([ab]))?(?: (\d+))?$")
_MAP_LINE = re.compile(rb"@\w+_\0[\[:]")
_TAIL = re.compile(rb"\]: (\d+)\n(?=\n*%b)" % _OURS)

_SEPARATOR = b", "
_LINE_MAX = 8192
"""Bytes of the longest accepted line: an entry with a long key has some 400."""
_TAIL_MAX = 96
"""Bytes of `]: N` with the longest 64-bit N, and of the text that confirms it."""
_ABOUT_MAX = (1 << 64) - 1

_MAX_HEADS = 4096
"""The beginning of an entry is the same in every slice. So many parsed beginnings are cached, about a megabyte."""


@cache
def _plain(name: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return the patterns for entries of the map `name` with keys in integers: a row of entries, and one of them."""
    begin = rb"@%b_\0\[" % name
    # Not `++`: CPython before 3.11.5 ends such a repeated group inside an entry (python/cpython#106052).
    row = rb"(?:%b\d{1,19}%b\]: \d{1,18}\n(?=\n*%b))+" % (begin, WORDS_SHOWN, _OURS)
    return re.compile(row), re.compile(rb"%b(\d{1,19}%b)\]: (\d{1,18})\n" % (begin, WORDS_SHOWN))


class Attached(NamedTuple):
    """bpftrace has printed the number of probes that it attaches."""

    probes: int


class Started(NamedTuple):
    """Counting has begun, at `ns` on the node's monotonic clock."""

    ns: int


class UnparsedLine(NamedTuple):
    """A line that the program does not print: a message of bpftrace itself."""

    line: bytes


Event = Attached | Started | UnparsedLine | RawSlice


class OutputParser:
    """Parses bpftrace's output as it arrives, in linear time, within `bounds`.

    A short key is printed as integers, a long one as `pieces` strings of up to `piece` bytes, joined by ", " as
    bpftrace joins the parts of a map's key. `nonce` is the program's.
    """

    def __init__(self, piece: int, pieces: int, nonce: str, bounds: OutputBounds | None = None) -> None:
        self._bounds = bounds or OutputBounds()
        self._most_entries = self._bounds.max_entries
        self._entries = self._slices = 0
        """The numbers printed so far."""
        self._started = False
        self._piece = piece
        self._pieces = pieces
        own = nonce.encode()
        self._signs = [(b"_%b[" % own, b"_\0["), (b"_%b:" % own, b"_\0:"), (b"#%b " % own, b"#\0 ")]
        """Text that only the program prints, and its replacement in the buffer: bpftrace prints no NUL."""
        self._begun = {sign[:size] for sign, _ in self._signs for size in range(len(sign))}
        self._plain = {name.decode(): _plain(name) for name in (b"a", b"b")}
        self._heads: dict[bytes, tuple[int, int, int, bytes]] = {}
        """The first four fields of entries, by their printed form."""
        self._buffer = b""
        self._open: RawSlice | None = None
        self._shown: dict[bytes, Entry] = {}
        """The entries of the open slice, by their printed form."""
        self._last = False
        """The open slice, or the one before, is the last one of the trace."""
        self._printed = ""
        """The map of the last complete slice, until the program fills it again."""
        self._loose: dict[str, RawSlice] = {}
        self._interrupted: RawSlice | None = None
        """The slice that bpftrace was printing when it was stopped."""
        self.complete = False
        """Everything was printed: by the program at its end, or by bpftrace when it was stopped."""
        self.now_ns: int | None = None
        """The node's clock at the end of the trace, once `@now` was printed."""
        self.by_client: dict[int, int] = {}
        """Requests of the complete window by process id << 32 | client (`--clients`)."""
        self._window_maps: dict[str, dict[tuple[bytes, bytes], Entry]] = {what: {} for what in _WINDOW_MAPS.values()}

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes; a line that cannot be parsed is an `UnparsedLine`.

        Raises `ImplausibleError` for a line with the program's nonce that the program cannot have printed: impossible
        numbers, or too many lines.
        """
        buffer = self._buffer + data
        for sign, short in self._signs:
            buffer = buffer.replace(sign, short)
        # A possible beginning of such text waits for its rest, so that the result does not depend on the chunks.
        half = max(len(begun) for begun in self._begun if buffer.endswith(begun))
        self._buffer = buffer[: len(buffer) - half]
        events = self._drain()
        self._buffer += buffer[len(buffer) - half :]
        return events

    def finish(self, *, complete: bool = True) -> list[Event]:
        """Return the events at the end of the output; a slice without an end counts as one cut short.

        An entry without an end or without text behind it is dropped, because half a number is a number too. If the
        output is not `complete`, a slice without an end is used only if some of its entries arrived: its exact totals
        are printed before them, and bound the missing entries.
        """
        self._buffer = b""
        self._fill()
        if not complete:
            if self._open is not None and not (self._open.totals and self._open.entries):
                self._open = None
            self._loose, self.now_ns = {}, None
        elif self._interrupted is not None:
            self._open = printed_again(self._interrupted, self._loose.pop(self._interrupted.map, None))
        # A printed map that was not cleared yet is not a second slice.
        self._loose.pop(self._printed, None)
        for part in self._loose.values():
            prune(part, self._bounds.printed)
        parts: list[Event] = [part for part in (self._open, *self._loose.values()) if part and not part.empty]
        self._open, self._interrupted, self._loose = None, None, {}
        return parts

    def window_entries(self, what: str) -> list[Entry]:
        """Return the entries of a map of the complete window: `misses`, `bytes`, `pairs` or `peers`."""
        return list(self._window_maps[what].values())

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
        """Read entries of the open slice with short keys, as `_entry` does but faster, and return where they end.

        Nearly all entries have short keys.
        """
        plain = self._plain.get(into.map)
        row = plain[0].match(buffer, position) if plain else None
        if plain is None or row is None:
            return position
        heads, make = self._heads, tuple.__new__
        # An entry that was printed again has its last count.
        found = dict(plain[1].findall(buffer, position, row.end()))
        new = found.keys() - heads.keys()
        if len(heads) + len(new) > _MAX_HEADS:
            heads.clear()
            new = set(found)
        for shown in new:
            number, _, words = shown.partition(_SEPARATOR)
            about = int(number)
            heads[shown] = (about >> 32, about >> 16 & 0xFFFF, about & 0xFFFF, key_of_integers(words, about & 0xFFFF))
        self._add(len(found))
        self._shown |= {shown: make(Entry, (*heads[shown], int(requests), False)) for shown, requests in found.items()}
        return row.end()

    def _entry(self, buffer: bytes, head: re.Match[bytes]) -> int | None:
        """Read the entry that begins with `head`; return its end, None if more data is needed, 0 if it is not an
        entry."""
        start, about = head.end(), integer(head[2], _ABOUT_MAX, "an entry's first number")
        bits, pieces = _LENGTH_BITS.get(head[1], 16), self._pieces if head[1] in _PIECES else 0
        length, tag = about & (1 << bits) - 1, (about & 0xFFFFFFFF) >> bits
        longest = self._piece * pieces + len(_SEPARATOR) * (pieces - 1) if pieces else WORDS_MAX
        sign = buffer.find(b"\0", start, start + longest + _TAIL_MAX)
        # The end of the entry is confirmed by the program's next text, in which a NUL is the last byte but one.
        found = _TAIL.search(buffer, start, sign + 2 if sign >= 0 else start + longest + _TAIL_MAX)
        if sign >= 0 and found is None:
            # The entry is incomplete, and other text was printed after it.
            return max(0, buffer.rfind(b"#" if buffer[sign - 1 : sign] == b"#" else b"@", start, sign))
        if found is None:
            return None if len(buffer) < start + longest + _TAIL_MAX else 0
        shown = buffer[start : found.start()]
        if not pieces and not WORDS.fullmatch(shown):
            return 0
        key = self._join(shown, length, pieces) if pieces else key_of_integers(shown, length)
        long = _LONG.get(head[1])
        requests = integer(found[1], MAX_INTEGER, "an entry's count")
        entry = Entry(about >> 32, tag, length, key, requests, pieces > 0)
        self._add(1)
        if what := _WINDOW_MAPS.get(head[1]):
            # A stopped bpftrace prints entries again: the last count is right.
            entries = self._window_maps[what]
            entries[head[0], shown] = entry
            if len(entries) > 2 * self._bounds.window_entries:
                self._window_maps[what] = largest(entries, self._bounds.window_entries)
            return found.end()
        into = self._slice(long or head[1].decode())
        if into is self._open:
            # A stopped bpftrace prints the entry again, with its last count.
            self._shown[head[0] + shown if long else head[2] + _SEPARATOR + shown] = entry
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
        """Return a long key from its printed pieces, as far as it was transmitted."""
        sizes = [min(self._piece, max(0, length - index * self._piece)) for index in range(pieces)]
        missing = sum(sizes) + len(_SEPARATOR) * (pieces - 1) - len(shown)
        if missing == 0:
            return b"".join(_cut(shown, sizes) or [shown])
        # A short piece holds a NUL (the binary protocol allows it): the key is known up to there.
        for index, size in enumerate(sizes):
            if size >= missing and (parts := _cut(shown, [*sizes[:index], size - missing, *sizes[index + 1 :]])):
                return b"".join(parts[: index + 1])
        return shown.split(_SEPARATOR)[0][: self._piece]

    def _slice(self, name: str) -> RawSlice:
        if self._open is not None and self._open.map == name:
            return self._open
        if name not in self._loose:
            self._loose[name] = RawSlice(name, None)
        return self._loose[name]

    def _fill(self) -> None:
        """Store the entries of the open slice in it."""
        if self._open is not None:
            self._open.entries.extend(self._shown.values())
            prune(self._open, self._bounds.printed)

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            return
        if marker := _MARKER.match(line):
            self._marked(marker, events)
        elif total := _TOTAL.match(line):
            totals = self._slice(total[1].decode()).totals
            pid = integer(total[2], MAX_INTEGER, "a process id")
            totals[pid] = integer(total[3], MAX_INTEGER, "a total")
            if len(totals) > self._bounds.totals:
                raise ImplausibleError("totals of more processes than are traced")
        elif client := _CLIENT.match(line):
            self._add(1)
            number = integer(client[1], _ABOUT_MAX, "a client")
            self.by_client[number] = integer(client[2], MAX_INTEGER, "a client's count")
        elif now := _NOW.match(line):
            self.now_ns = integer(now[1], MAX_INTEGER, "a time")
        elif _STOPPED.match(line):
            if self._open is not None:
                self._fill()
                self._interrupted, self._open = self._open, None
        elif filled := _FILLED.match(line):
            self.complete = True
            if self._printed == "ba"[int(filled[1][-1:]) % 2] and not self._last:
                self._printed = ""
        elif attached := _ATTACHED.match(line):
            events.append(Attached(int(attached[1])))
        elif not _MAP_LINE.match(line):
            events.append(UnparsedLine(line[:200]))

    def _marked(self, marker: re.Match[bytes], events: list[Event]) -> None:
        word, name, ns = marker[1], (marker[2] or b"").decode(), integer(marker[3] or b"0", MAX_INTEGER, "a time")
        if word == b"start":
            if self._started:
                raise ImplausibleError("a trace that started twice")
            self._started = True
            events.append(Started(ns))
            return
        if self._open is not None:
            self._fill()
            self._open.complete = word == b"end"
            if self._open.complete and self._open.pruned:
                raise ImplausibleError(f"more than {self._bounds.printed} entries in one slice of a map")
            self.complete |= self._last and self._open.complete
            self._printed = self._open.map
            events.append(self._open)
            self._open = None
        if word in (b"slice", b"last"):
            self._slices += 1
            if self._slices > self._bounds.slices:
                raise ImplausibleError(f"more than {self._bounds.slices} slices")
            self._open, self._shown, self._last = RawSlice(name, ns), {}, word == b"last"


def _cut(shown: bytes, sizes: list[int]) -> list[bytes] | None:
    """Split `shown` into pieces of these sizes with a separator between them; None if it does not fit."""
    pieces: list[bytes] = []
    position = 0
    for size in sizes:
        if pieces and shown[position : position + len(_SEPARATOR)] != _SEPARATOR:
            return None
        position += len(_SEPARATOR) if pieces else 0
        pieces.append(shown[position : position + size])
        position += size
    return pieces if position == len(shown) else None
