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
from typing import NamedTuple

from fleettrace.node.entries import RawSlice, largest, printed_again
from fleettrace.node.labels import ABOUT_MAX, LONG, SEPARATOR, WORDS, WORDS_MAX, Entry, Labels
from fleettrace.node.plausible import MAX_INTEGER, ImplausibleError, OutputBounds, integer
from fleettrace.node.rows import LONG_MAPS, MAPS, RowReader

__all__ = ["Attached", "Entry", "OutputParser", "RawSlice", "Started", "UnparsedLine"]

_SLICES = {b"a": "a", b"b": "b", b"c": "a", b"d": "b"}
"""The maps of a slice, and the slice to which each belongs."""
_WINDOW_MAPS = {b"m": "misses", b"n": "misses", b"v": "bytes", b"u": "bytes", b"q": "pairs", b"i": "peers"}
"""The maps of the complete window, and what they hold."""
_ATTACHED = re.compile(rb"Attach(?:ing|ed) (\d{1,6}) probes?")
_ABOUT = re.compile(rb"(\d+), ")

# A NUL replaces the nonce, so that these patterns apply to every program.
_OURS = rb"(?:@\w+_\0[\[:]|#\0 )"
_TOTAL = re.compile(rb"@n([ab])_\0\[(\d+)\]: (\d+)$")
_CLIENT = re.compile(rb"@o_\0\[(\d+)\]: (\d+)$")
_NOW = re.compile(rb"@now_\0: (\d+)$")
_STOPPED = re.compile(rb"@_asked_\0: ")
_FILLED = re.compile(rb"@w_\0: (\d+)$")
_MARKER = re.compile(rb"#\0 (start|slice|last|end)(?: ([ab]))?(?: (\d+))?$")
_MAP_LINE = re.compile(rb"@\w+_\0[\[:]")
_TAIL = re.compile(rb"\]: (\d+)\n(?=\n*%b)" % _OURS)

_LINE_MAX = 8192
"""Bytes of the longest accepted line: an entry with a long key has some 400."""
_TAIL_MAX = 96
"""Bytes of `]: N` with the longest 64-bit N, and of the text that confirms it."""


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
        own = nonce.encode()
        self._labels = Labels(piece, pieces)
        self._rows = RowReader(self._labels, own)
        self._signs = [(b"_%b[" % own, b"_\0["), (b"_%b:" % own, b"_\0:"), (b"#%b " % own, b"#\0 ")]
        """Text that only the program prints, and its replacement: bpftrace prints no NUL."""
        self._begun = {sign[:size] for sign, _ in self._signs for size in range(len(sign))}
        self._buffer = b""
        self._open: RawSlice | None = None
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
        self._window_maps: dict[bytes, dict[bytes, int]] = {name: {} for name in _WINDOW_MAPS}

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes; a line that cannot be parsed is an `UnparsedLine`.

        Raises `ImplausibleError` for a line with the program's nonce that the program cannot have printed: impossible
        numbers, or too many lines.
        """
        events: list[Event] = []
        buffer, position, fast_from = self._buffer + data, 0, 0
        while position < len(buffer):
            if name := self._opening(buffer, position):
                if position >= fast_from:
                    counts, end = self._rows.read(buffer, position, name)
                    if counts is not None:
                        self._take(name, counts)
                        position = end
                        continue
                    # One entry at a time until there, so that no text is searched for rows twice.
                    fast_from = end
                after = self._entry(buffer, position, name)
                if after is None:
                    break
                if after > 0:
                    position = after
                    continue
            newline = buffer.find(b"\n", position)
            if newline < 0:
                if len(buffer) - position > _LINE_MAX:
                    events.append(UnparsedLine(self._short(buffer[position : position + _LINE_MAX])[:200]))
                    position = len(buffer)
                break
            if newline > position:
                self._line(self._short(buffer[position:newline]), events)
            position = newline + 1
        self._buffer = buffer[position:]
        return events

    def finish(self, *, complete: bool = True) -> list[Event]:
        """Return the events at the end of the output; a slice without an end counts as one cut short.

        An entry without an end or without text behind it is dropped, because half a number is a number too. If the
        output is not `complete`, a slice without an end is used only if some of its entries arrived: its exact totals
        are printed before them, and bound the missing entries.
        """
        self._buffer = b""
        if self._open is not None:
            self._open.prune(self._bounds.printed)
        if not complete:
            if self._open is not None and not (self._open.totals and (self._open.short or self._open.long)):
                self._open = None
            self._loose, self.now_ns = {}, None
        elif self._interrupted is not None:
            self._open = printed_again(self._interrupted, self._loose.pop(self._interrupted.map, None))
        # A printed map that was not cleared yet is not a second slice.
        self._loose.pop(self._printed, None)
        for part in self._loose.values():
            part.prune(self._bounds.printed)
        parts: list[Event] = [part for part in (self._open, *self._loose.values()) if part and not part.empty]
        self._open, self._interrupted, self._loose = None, None, {}
        return parts

    def window_entries(self, what: str) -> list[Entry]:
        """Return the entries of a map of the complete window: `misses`, `bytes`, `pairs` or `peers`."""
        maps = [self._window_maps[name] for name, holds in _WINDOW_MAPS.items() if holds == what]
        return [self._labels.entry(*item) for counts in maps for item in counts.items()]

    def _short(self, text: bytes) -> bytes:
        """Return `text` with a NUL for the nonce in each of the program's signs."""
        for sign, short in self._signs:
            text = text.replace(sign, short)
        return text

    def _opening(self, buffer: bytes, position: int) -> bytes | None:
        """Return the name of the map of the entry that begins at `position`, if one does."""
        name = buffer[position + 1 : position + 2]
        if buffer[position] != 64 or not name or name not in MAPS:
            return None
        return name if buffer.startswith(self._signs[0][0], position + 2) else None

    def _entry(self, buffer: bytes, position: int, name: bytes) -> int | None:
        """Read the entry of map `name` at `position`; return its end, None if more data is needed, 0 if it is not an
        entry."""
        sign = self._signs[0][0]
        head = _ABOUT.match(buffer, position + 2 + len(sign))
        if head is None:
            return 0
        start, long = head.end(), name in LONG_MAPS
        integer(head[1], ABOUT_MAX, "an entry's first number")
        most = (self._labels.longest if long else WORDS_MAX) + _TAIL_MAX
        text = buffer[start : start + most + len(sign)]
        # A possible beginning of a sign waits for its rest, so that the result does not depend on the chunks.
        half = 0 if len(text) == most + len(sign) else max(len(one) for one in self._begun if text.endswith(one))
        text = self._short(text[: len(text) - half])
        after = text.find(b"\0", 0, most)
        # The end of the entry is confirmed by the program's next text, in which a NUL is the last byte but one.
        found = _TAIL.search(text, 0, after + 2) if after >= 0 else None
        if found is None:
            if after < 0:
                return None if len(text) < most else 0
            # The entry is incomplete, and other text was printed after it.
            begin = text.rfind(b"#" if text[after - 1 : after] == b"#" else b"@", 0, after)
            return start + begin if begin >= 0 else 0
        shown = text[: found.start()]
        if not long and not WORDS.fullmatch(shown):
            return 0
        requests = integer(found[1], MAX_INTEGER, "an entry's count")
        self._take(name, {LONG * long + head[1] + SEPARATOR + shown: requests})
        return start + found.end()

    def _take(self, name: bytes, counts: dict[bytes, int]) -> None:
        """Store entries of map `name`. A stopped bpftrace prints an entry again, with its last count."""
        self._add(len(counts))
        if name in _WINDOW_MAPS:
            entries = self._window_maps[name]
            entries |= counts
            if len(entries) > 2 * self._bounds.window_entries:
                self._window_maps[name] = largest(entries, self._bounds.window_entries)
            return
        into = self._slice(_SLICES[name])
        if name in LONG_MAPS:
            into.long |= counts
        else:
            into.short |= counts
        if len(into.short) + len(into.long) > 4 * self._bounds.printed:
            into.pruned = True
            into.prune(self._bounds.printed)

    def _add(self, entries: int) -> None:
        self._entries += entries
        if self._entries > self._most_entries:
            raise ImplausibleError(f"more than {self._most_entries} entries of maps in one trace")

    def _slice(self, name: str) -> RawSlice:
        if self._open is not None and self._open.map == name:
            return self._open
        if name not in self._loose:
            self._loose[name] = RawSlice(name, None, self._labels)
        return self._loose[name]

    def _line(self, line: bytes, events: list[Event]) -> None:
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
            number = integer(client[1], ABOUT_MAX, "a client")
            self.by_client[number] = integer(client[2], MAX_INTEGER, "a client's count")
        elif now := _NOW.match(line):
            self.now_ns = integer(now[1], MAX_INTEGER, "a time")
        elif _STOPPED.match(line):
            if self._open is not None:
                self._open.prune(self._bounds.printed)
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
            self._open.prune(self._bounds.printed)
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
            self._open, self._last = RawSlice(name, ns, self._labels), word == b"last"
