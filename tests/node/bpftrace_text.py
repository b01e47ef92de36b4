"""What a fleettrace program makes bpftrace print, written the way bpftrace writes it: the parser's counterpart."""

from __future__ import annotations

import ast
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from fleettrace.node.labels import LONG, Labels
from fleettrace.node.output import Entry, Event, RawSlice
from fleettrace.probes.layout import key_layout

__all__ = [
    "LAYOUTS",
    "NONCE",
    "SHORT",
    "Printed",
    "chunked",
    "contents",
    "entries",
    "entry_of",
    "in_order",
    "keys",
    "raw_slice",
    "render",
    "short_keys",
    "shown",
]

LAYOUTS = tuple({(one.piece, one.pieces) for one in (key_layout((0, 17, 0)), key_layout((0, 23, 2)))})
"""(bytes a string, strings of a long key) of old and new versions."""
SHORT = 72
"""Bytes of the longest key that stands in integers."""
NONCE = "k3Xq"


@dataclass(frozen=True, slots=True)
class Printed:
    """One slice: what is in its maps."""

    name: str
    end_ns: int | None
    totals: Mapping[int, int]
    entries: Sequence[Entry]


def entry_of(pid: int, tag: int, key: bytes, requests: int) -> Entry:
    """The entry of a key: in the map of long keys when it does not fit into the integers."""
    return Entry(pid, tag, len(key), key, requests, len(key) > SHORT)


def shown(key: bytes, piece: int, pieces: int) -> bytes:
    """A key as bpftrace shows it. Strings end at their first NUL."""
    if len(key) <= SHORT:
        words = struct.unpack("<9Q", key.ljust(SHORT, b"\0"))
        return b", ".join(b"%d" % word for word in words)
    strings = [key[index * piece : (index + 1) * piece].partition(b"\0")[0] for index in range(pieces)]
    return b", ".join(strings)


def line_of(name: str, entry: Entry, piece: int, pieces: int) -> bytes:
    """One entry of a map."""
    place = {"a": b"c", "b": b"d"}[name] if entry.long else name.encode()
    about = entry.pid << 32 | entry.tag << 16 | entry.length
    key = shown(entry.data, piece, pieces)
    return b"@%b_%b[%d, %b]: %d\n" % (place, NONCE.encode(), about, key, entry.requests)


def render(slices: Iterable[Printed], piece: int, pieces: int) -> bytes:
    """The text of these slices."""
    lines = []
    nonce = NONCE.encode()
    for one in slices:
        if one.end_ns is not None:
            lines.append(b"#%b slice %b %d\n" % (nonce, one.name.encode(), one.end_ns))
        lines += [b"@n%b_%b[%d]: %d\n" % (one.name.encode(), nonce, pid, total) for pid, total in one.totals.items()]
        lines.append(b"\n")
        lines += [line_of(one.name, entry, piece, pieces) for entry in one.entries]
        lines.append(b"\n")
        if one.end_ns is not None:
            lines.append(b"#%b end\n" % nonce)
    return b"".join(lines)


def contents(events: Iterable[Event]) -> list[Event | Printed]:
    """The events, with what is in the maps of each slice: the entries with short keys first."""
    return [
        Printed(one.map, one.end_ns, one.totals, one.entries) if isinstance(one, RawSlice) else one for one in events
    ]


def in_order(printed: Iterable[Printed]) -> list[Event | Printed]:
    """What `contents` gives of these slices."""
    return [
        Printed(one.name, one.end_ns, dict(one.totals), sorted(one.entries, key=lambda entry: entry.long))
        for one in printed
    ]


class _Literal(Labels):
    """Reads labels that are literals, so that any entry can have one."""

    def entry(self, label: bytes, requests: int) -> Entry:
        long = label.startswith(LONG)
        pid, tag, length, data = ast.literal_eval(label[long:].decode())
        return Entry(pid, tag, length, data, requests, long)


def raw_slice(name: str, end_ns: int | None, totals: dict[int, int], entries: Iterable[Entry]) -> RawSlice:
    """A slice with any entries, also those that no program can print."""
    made = RawSlice(name, end_ns, _Literal(*LAYOUTS[0]), totals)
    for entry in entries:
        (made.long if entry.long else made.short)[LONG * entry.long + repr(tuple(entry[:4])).encode()] = entry.requests
    return made


# Pieces of the output's own grammar, so that generated keys are as misleading as they can be without the nonce.
_TRAPS = st.sampled_from(
    [
        b"]: 7",
        b"]: 7\n",
        b", ",
        b"\n",
        b"@a[30064771075, ",
        b"@c[30064771200, ",
        b"#end\n",
        b"#slice b 5\n",
        b"[",
        b"\xff",
    ]
)
_PLAIN = st.binary(min_size=1, max_size=90).map(lambda data: data.replace(b"\0", b"0"))
keys = st.lists(_TRAPS | _PLAIN, min_size=1, max_size=6).map(lambda parts: b"".join(parts)[:250])
"""Any key that holds no NUL."""
short_keys = st.binary(min_size=1, max_size=SHORT).filter(any)
"""Any short key, but for those of nothing but NULs."""


def entries() -> st.SearchStrategy[Entry]:
    """Any entry that comes through whole."""
    return st.builds(
        entry_of, st.integers(1, 4_194_304), st.integers(0, 65535), keys | short_keys, st.integers(1, 2**58)
    )


def chunked(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` in pieces, cut at these places (taken modulo its length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in pairwise([0, *places, len(data)])]
