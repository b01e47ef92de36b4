"""Measure the controller's CPU time for the output of one host's trace, beside one bare `findall` over it.

    python -m benchmarks.parsing [FILE] [--rounds 100]

FILE is a recording of tests/node/record_output.py: by default `plain`, with 200 keys in each slice of a second. All are
measured in turn in one process, and the medians are compared. `slow reader` takes one entry at a time: the oracle of
the tests. `findall` returns label and count of each entry with a short key, and does nothing with them.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fleettrace.node.output import Event, OutputParser, RawSlice, Started
from fleettrace.node.slicing import Slicer
from fleettrace.probes.model import TraceSettings
from fleettrace.probes.selection import preview
from fleettrace.summary.counts import Summary
from tests.node.slow_reader import SlowReader

__all__ = ["main"]

RECORDED = Path(__file__).parent.parent / "tests/node/recorded/plain.txt"
CHUNK = 32 * 1024
"""Bytes in a packet of SSH, about."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The output of one trace."""

    text: bytes
    nonce: str
    piece: int
    pieces: int

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a file of tests/node/record_output.py."""
        head, _, text = path.read_bytes().partition(b"\n")
        nonce, piece, pieces = head.split()
        return cls(text, nonce.decode(), int(piece), int(pieces))

    @property
    def chunks(self) -> list[bytes]:
        return [self.text[start : start + CHUNK] for start in range(0, len(self.text), CHUNK)]

    def parse(self) -> list[Event]:
        """Return what the parser reads."""
        parser = OutputParser(self.piece, self.pieces, self.nonce)
        return [event for chunk in self.chunks for event in parser.feed(chunk)] + parser.finish()

    def parse_slowly(self) -> None:
        """Read it one entry at a time."""
        reader = SlowReader(self.piece, self.pieces, self.nonce)
        for chunk in self.chunks:
            reader.feed(chunk)

    def sums(self) -> Summary:
        """Return the sums of the trace of one process, as a host's trace makes them."""
        events = self.parse()
        (pid,) = {pid for event in events if isinstance(event, RawSlice) for pid in event.totals}
        slicer = Slicer({pid: preview()}, TraceSettings(5.0), 1.0)
        for event in events:
            if isinstance(event, Started):
                slicer.start(event.ns)
            elif isinstance(event, RawSlice):
                slicer.add(event, None, apart=False)
        return slicer.summaries[pid]

    def pattern(self) -> re.Pattern[bytes]:
        """Return the expression of an entry with a short key."""
        return re.compile(rb"@[ab]_%b\[(\d{1,19}(?:, -?\d{1,20}){9})\]: (\d{1,18})\n" % self.nonce.encode())


def milliseconds(what: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    began = time.process_time_ns()
    what()
    return (time.process_time_ns() - began) / 1e6


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=RECORDED, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    recording = Recording.read(given.file)
    pattern, total = recording.pattern(), recording.sums()
    measured: dict[str, Callable[[], object]] = {
        "findall": lambda: pattern.findall(recording.text),
        "parser": recording.parse,
        "parser and sums": recording.sums,
        "slow reader": recording.parse_slowly,
    }
    took: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(given.rounds):
        for name, what in measured.items():
            took[name].append(milliseconds(what))
    entries = len(pattern.findall(recording.text))
    print(f"{len(recording.text):,} bytes, {entries:,} entries, {len(total.keys)} keys, {total.total:,} requests")
    print(f"{'':16}{'CPU ms':>10}{'/ findall':>12}{'/ slow reader':>16}")
    times = {name: median(values) for name, values in took.items()}
    for name, value in times.items():
        print(f"{name:16}{value:10.2f}{value / times['findall']:12.2f}{value / times['slow reader']:16.2f}")


if __name__ == "__main__":
    main()
