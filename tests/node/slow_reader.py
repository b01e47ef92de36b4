"""A reader of bpftrace's output that reads one entry at a time: slow, simple, and the oracle of `OutputParser`.

Grammar and results are those of `fleettrace.node.output`, which reads a row of entries at once. It has no bounds but
those of numbers and lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fleettrace.node.labels import ABOUT_MAX, WORDS, WORDS_MAX, Labels
from fleettrace.node.output import Attached, Started, UnparsedLine
from fleettrace.node.plausible import MAX_INTEGER, ImplausibleError, integer

__all__ = ["SlowReader", "SlowSlice"]

_SLICES = {b"a": "a", b"b": "b", b"c": "a", b"d": "b"}
_WINDOW_MAPS = {b"m": "misses", b"n": "misses", b"v": "bytes", b"u": "bytes"}
_PIECES = b"cdnu"
_ATTACHED = re.compile(rb"Attach(?:ing|ed) (\d{1,6}) probes?")

# A NUL replaces the nonce, so that these patterns apply to every program.
_OURS = rb"(?:@\w+_\0[\[:]|#\0 )"
_OPENING = re.compile(rb"@([abcdmnuv])_\0\[(\d+), ")
_TOTAL = re.compile(rb"@n([ab])_\0\[(\d+)\]: (\d+)$")
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


@dataclass
class SlowSlice:
    """One slice as printed."""

    map: str
    end_ns: int | None
    totals: dict[int, int] = field(default_factory=dict)
    entries: dict[bytes, int] = field(default_factory=dict)
    """The counts by label."""
    complete: bool = False


Event = Attached | Started | UnparsedLine | SlowSlice


class SlowReader:
    """Reads bpftrace's output as it arrives; the arguments are those of `OutputParser`."""

    def __init__(self, piece: int, pieces: int, nonce: str) -> None:
        self._started = False
        self._longest = Labels(piece, pieces).longest
        own = nonce.encode()
        self._signs = [(b"_%b[" % own, b"_\0["), (b"_%b:" % own, b"_\0:"), (b"#%b " % own, b"#\0 ")]
        self._begun = {sign[:size] for sign, _ in self._signs for size in range(len(sign))}
        self._buffer = b""
        self._open: SlowSlice | None = None
        self._last = False
        self._printed = ""
        self._loose: dict[str, SlowSlice] = {}
        self._interrupted: SlowSlice | None = None
        self.complete = False
        self.now_ns: int | None = None
        self.window: dict[str, dict[bytes, int]] = {what: {} for what in _WINDOW_MAPS.values()}
        """The counts of the maps of the complete window, by label."""

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
        if not complete:
            if self._open is not None and not (self._open.totals and self._open.entries):
                self._open = None
            self._loose, self.now_ns = {}, None
        elif self._interrupted is not None:
            self._open = _printed_again(self._interrupted, self._loose.pop(self._interrupted.map, None))
        # A printed map that was not cleared yet is not a second slice.
        self._loose.pop(self._printed, None)
        parts: list[Event] = [
            part for part in (self._open, *self._loose.values()) if part and (part.totals or part.entries)
        ]
        self._open, self._interrupted, self._loose = None, None, {}
        return parts

    def _drain(self) -> list[Event]:
        events: list[Event] = []
        buffer, position = self._buffer, 0
        while position < len(buffer):
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

    def _entry(self, buffer: bytes, head: re.Match[bytes]) -> int | None:
        """Read the entry that begins with `head`; return its end, None if more data is needed, 0 if it is not an
        entry."""
        start = head.end()
        integer(head[2], ABOUT_MAX, "an entry's first number")
        long = head[1] in _PIECES
        longest = self._longest if long else WORDS_MAX
        sign = buffer.find(b"\0", start, start + longest + _TAIL_MAX)
        # The end of the entry is confirmed by the program's next text, in which a NUL is the last byte but one.
        found = _TAIL.search(buffer, start, sign + 2 if sign >= 0 else start + longest + _TAIL_MAX)
        if sign >= 0 and found is None:
            # The entry is incomplete, and other text was printed after it.
            return max(0, buffer.rfind(b"#" if buffer[sign - 1 : sign] == b"#" else b"@", start, sign))
        if found is None:
            return None if len(buffer) < start + longest + _TAIL_MAX else 0
        shown = buffer[start : found.start()]
        if not long and not WORDS.fullmatch(shown):
            return 0
        label = b"@" * long + head[2] + _SEPARATOR + shown
        # A stopped bpftrace prints entries again: the last count is right.
        what = _WINDOW_MAPS.get(head[1])
        into = self.window[what] if what else self._slice(_SLICES[head[1]]).entries
        into[label] = integer(found[1], MAX_INTEGER, "an entry's count")
        return found.end()

    def _slice(self, name: str) -> SlowSlice:
        if self._open is not None and self._open.map == name:
            return self._open
        if name not in self._loose:
            self._loose[name] = SlowSlice(name, None)
        return self._loose[name]

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            return
        if marker := _MARKER.match(line):
            self._marked(marker, events)
        elif total := _TOTAL.match(line):
            totals = self._slice(total[1].decode()).totals
            pid = integer(total[2], MAX_INTEGER, "a process id")
            totals[pid] = integer(total[3], MAX_INTEGER, "a total")
        elif now := _NOW.match(line):
            self.now_ns = integer(now[1], MAX_INTEGER, "a time")
        elif _STOPPED.match(line):
            if self._open is not None:
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
            self._open.complete = word == b"end"
            self.complete |= self._last and self._open.complete
            self._printed = self._open.map
            events.append(self._open)
            self._open = None
        if word in (b"slice", b"last"):
            self._open, self._last = SlowSlice(name, ns), word == b"last"


def _printed_again(first: SlowSlice, again: SlowSlice | None) -> SlowSlice:
    if again is None or not (again.totals or again.entries):
        return first
    if sum(again.entries.values()) == sum(again.totals.values()):
        return SlowSlice(first.map, first.end_ns, again.totals, again.entries)
    return SlowSlice(first.map, first.end_ns, first.totals | again.totals, first.entries | again.entries)
