"""A bpftrace that is stopped at any moment, while it prints a slice too, makes nothing count twice or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.node.output import Entry, OutputParser, RawSlice, UnparsedLine
from tests.node.bpftrace_text import LAYOUTS, NONCE, chunked, entries, line_of

PIECE, PIECES = LAYOUTS[0]
Slice = list[Entry]
slices = st.lists(
    st.lists(entries(), max_size=4, unique_by=lambda entry: entry[:4]),
    min_size=1,
    max_size=4,
)


@dataclass
class Bpftrace:
    """What a program's maps hold, and what was printed: bpftrace/slices.bt, one statement at a time."""

    maps: dict[str, list[Entry]] = field(default_factory=lambda: {"a": [], "b": []})
    totals: dict[str, Counter[int]] = field(default_factory=lambda: {"a": Counter(), "b": Counter()})
    filling: int = 1
    busy: bool = False
    text: bytes = b""
    mark: int | None = None
    """Where the slice that is being printed begins."""

    def count(self, some: Slice) -> None:
        """Count requests in the map that is being filled."""
        name = "ba"[self.filling % 2]
        self.maps[name] += some
        for entry in some:
            self.totals[name][entry.pid] += entry.requests

    def print_map(self, name: str, *, long: bool) -> None:
        self.text += b"".join(line_of(name, one, PIECE, PIECES) for one in self.maps[name] if one.long == long) + b"\n"

    def print_totals(self, name: str) -> None:
        nonce = NONCE.encode()
        self.text += b"".join(
            b"@n%b_%b[%d]: %d\n" % (name.encode(), nonce, pid, total) for pid, total in self.totals[name].items()
        )

    def turn(self, *, last: bool) -> Iterator[None]:
        """The kernel lets the other map take over; then bpftrace prints and clears, and may be stopped after each."""
        name = "ba"[self.filling % 2]
        self.filling = self.filling + 2 if last else 3 - self.filling
        self.busy = self.busy or not last
        yield
        self.text += b"#%b %b %b 77\n" % (NONCE.encode(), b"last" if last else b"slice", name.encode())
        self.mark = len(self.text)
        yield
        self.print_totals(name)
        yield
        self.print_map(name, long=False)
        yield
        self.print_map(name, long=True)
        yield
        self.text += b"#%b end\n" % NONCE.encode()
        self.mark = None
        yield
        self.totals[name].clear()
        yield
        self.maps[name] = [entry for entry in self.maps[name] if entry.long]
        yield
        self.maps[name] = []
        yield
        self.busy = False

    def stop(self, lost: int) -> None:
        """It prints every map, by name, without a limit; of what it was printing before, so many bytes are `lost`."""
        if self.mark is not None:
            self.text = self.text[: max(self.mark, len(self.text) - lost)]
        self.text += b"\n\n@_asked_%b: 1\n" % NONCE.encode()
        for name in "ab":
            self.print_map(name, long=False)
        if self.busy:
            self.text += b"@busy_%b[0]: 1\n\n" % NONCE.encode()
        for name in "ab":
            self.print_map(name, long=True)
        for name in "ab":
            self.print_totals(name)
        self.text += b"@now_%b: 99\n@w_%b: %d\n" % (NONCE.encode(), NONCE.encode(), self.filling)


@settings(max_examples=300, deadline=None)
@given(slices, st.lists(st.integers(0, 100_000), max_size=5), st.data())
def test_nothing_counts_twice_or_not_at_all(all_slices: list[Slice], cuts: list[int], data: st.DataObject) -> None:
    bpftrace = Bpftrace()
    truth: Counter[Entry] = Counter()
    statements = data.draw(st.integers(0, 10 * len(all_slices)))
    for number, some in enumerate(all_slices):
        bpftrace.count(some)
        truth.update({entry._replace(requests=0): entry.requests for entry in some})
        for step, _ in enumerate(bpftrace.turn(last=number == len(all_slices) - 1)):
            if number * 10 + step == statements:
                break
        else:
            continue
        break
    while_it_printed = data.draw(st.lists(entries(), max_size=2, unique_by=lambda entry: entry[:4]))
    if bpftrace.filling < 3:
        bpftrace.maps["ba"[bpftrace.filling % 2]].clear()
        bpftrace.totals["ba"[bpftrace.filling % 2]].clear()
        bpftrace.count(while_it_printed)
        truth.update({entry._replace(requests=0): entry.requests for entry in while_it_printed})
    bpftrace.stop(data.draw(st.integers(0, 600)))
    parser = OutputParser(PIECE, PIECES, NONCE)
    events = [event for chunk in chunked(bpftrace.text, cuts) for event in parser.feed(chunk)] + parser.finish()
    read: Counter[Entry] = Counter()
    totals: Counter[int] = Counter()
    for event in events:
        if isinstance(event, UnparsedLine):
            assert re.fullmatch(rb"@\w*", event.line), "more than the name of a map that broke off"
            continue
        assert isinstance(event, RawSlice)
        totals.update(event.totals)
        for entry in event.entries:
            read[entry._replace(requests=0)] += entry.requests
    assert parser.complete
    assert read == truth
    by_pid: Counter[int] = Counter()
    for entry, requests in truth.items():
        by_pid[entry.pid] += requests
    assert totals == by_pid


@given(slices, st.data())
def test_what_ends_before_its_end_is_not_complete(all_slices: list[Slice], data: st.DataObject) -> None:
    bpftrace = Bpftrace()
    for some in all_slices:
        bpftrace.count(some)
        for _ in bpftrace.turn(last=False):
            pass
    bpftrace.stop(0)
    end = data.draw(st.integers(0, bpftrace.text.rindex(b"@w_")))
    parser = OutputParser(PIECE, PIECES, NONCE)
    parser.feed(bpftrace.text[:end])
    assert not parser.complete
