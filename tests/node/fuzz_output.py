"""Throw output at the parsers for a given time: what keys a client can choose, what a bpftrace can print, and lies.

    python -m tests.node.fuzz_output --seconds 300 --seed 1

Three kinds of cases alternate. Valid output, with keys that resemble output, complete or cut into chunks anywhere, must
be read as exactly the printed keys and counts. Valid output that ends early must never give a key or a count that was
not printed. Mutated output must be read to its end, in some seconds, in bounded memory, and with the same result for
any chunks. `fuzz_reports.py` has the cases of complete reports and of growing input.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from fleettrace.node.output import Entry, Event, OutputParser, RawSlice
from fleettrace.node.plausible import ImplausibleError
from tests.node import fuzz_reports
from tests.node.bpftrace_text import LAYOUTS, NONCE, Printed, chunked, contents, entry_of, in_order, render

__all__ = ["main", "one"]

MEMORY_KB = 256 << 10
LIMIT_S = 8.0
PARTS = (
    b"]: 7", b"]: 7\n", b"]: 7\n@", b", ", b"\n", b"\n\n", b"@a[30064771075, ", b"@c[30064771200, ", b"@na[7]: 3\n",
    b"#end\n", b"#slice b 5\n", b"#last a 9\n", b"@a_k3xq[1, x]: 1\n", b"[", b"]", b"@", b"#", b"\xff", b"\xc3", b" ",
    b"%s", b"\x1b[2J", b"key:", b"0", b"'", b'"', b"\\", b"\r", b"\t",
)  # fmt: skip
"""Of which keys are made: pieces of the output's own grammar, but for the nonce, which no client knows."""


def a_key(chance: random.Random) -> bytes:
    """A key without a NUL, of 1 to 250 bytes."""
    if chance.random() < 0.3:
        return b"k" * chance.choice((1, 2, 70, 71, 72, 126, 127, 128, 142, 143, 199, 200, 213, 214, 249, 250))
    parts = (
        chance.choice(PARTS)
        if chance.random() < 0.7
        else chance.randbytes(chance.randrange(1, 40)).replace(b"\0", b"0")
        for _ in range(chance.randrange(1, 12))
    )
    return b"".join(parts)[:250]


def some_slices(chance: random.Random) -> list[Printed]:
    """What a few slices hold; a slice lists no entry twice."""
    slices = []
    for number in range(chance.randrange(1, 5)):
        entries: dict[tuple[int, int, bytes], Entry] = {}
        for _ in range(chance.randrange(12)):
            pid, tag, key = chance.randrange(1, 1 << 22), chance.randrange(1 << 16), a_key(chance)
            entries[pid, tag, key] = entry_of(pid, tag, key, chance.randrange(1, 1 << 63))
        totals = {chance.randrange(1, 1 << 22): chance.randrange(1 << 63) for _ in range(chance.randrange(3))}
        slices.append(Printed("ab"[number % 2], number + 1, totals, list(entries.values())))
    return slices


def parsed(text: bytes, layout: tuple[int, int], cuts: list[int]) -> list[Event]:
    """What the parser makes of it; nothing where it refuses it."""
    parser = OutputParser(*layout, NONCE)
    try:
        events = [event for chunk in chunked(text, cuts) for event in parser.feed(chunk)]
        return events + parser.finish()
    except ImplausibleError:
        return []


def mutated(text: bytes, chance: random.Random) -> bytes:
    """A broken copy, in which the nonce and what belongs to it may stand anywhere."""
    broken = bytearray(text)
    for _ in range(chance.randrange(1, 20)):
        at = chance.randrange(len(broken) + 1)
        own = [b"@a_%b[30064771075, ", b"@c_%b[9, ", b"#%b slice a ", b"#%b end\n", b"@now_%b: ", b"@w_%b: 1\n"]
        patch = chance.choice([*(one % NONCE.encode() for one in own), *PARTS, chance.randbytes(8)])
        broken[at : at + chance.choice((0, 1, len(patch)))] = patch
    return bytes(broken)


def one(chance: random.Random) -> str:
    """One case; gives its kind. Raises AssertionError where a key or a count is wrong."""
    layout = chance.choice(LAYOUTS)
    printed = some_slices(chance)
    text = render(printed, *layout)
    cuts = [chance.randrange(len(text) + 1) for _ in range(chance.randrange(6))]
    kind = chance.choice(("sound", "broken off", "mutated"))
    if kind == "sound":
        assert contents(parsed(text, layout, cuts)) == in_order(printed)
    elif kind == "broken off":
        there = Counter(entry for slice_ in printed for entry in slice_.entries)
        read = parsed(text[: chance.randrange(len(text) + 1)], layout, cuts)
        found = Counter(entry for slice_ in read if isinstance(slice_, RawSlice) for entry in slice_.entries)
        assert found <= there
    else:
        text = mutated(text, chance)
        assert parsed(text, layout, cuts) == parsed(text, layout, [])
    return kind


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"a case took longer than {LIMIT_S:g} s")


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGPROF, _too_slow)
    kinds: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest, end = 0.0, time.monotonic() + given.seconds
    while time.monotonic() < end:
        seed = f"{given.seed}:{kinds.total()}"
        case = one if kinds.total() % 2 == 0 else fuzz_reports.one
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            kinds[case(random.Random(seed))] += 1
        except BaseException as error:
            Path("fuzz-output-case").write_text(f"{case.__module__} {seed}")
            print(
                f"case {seed} of {case.__module__}: {type(error).__name__}; the seed is stored in ./fuzz-output-case",
                file=sys.stderr,
            )
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.monotonic() - began)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < MEMORY_KB, f"the parser's memory grew by {grown} KB"
    print(f"{kinds.total()} cases in {given.seconds:.0f} s: {dict(kinds)}; slowest {slowest:.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
