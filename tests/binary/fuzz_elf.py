"""Run `analyse` on mutated binaries for a given time. It must analyse each, or refuse it in one line.

    python -m tests.binary.fuzz_elf --seconds 300 --seed 1

A case may take no longer than --limit seconds of CPU time and the process may grow by no more than 512 MB. Mutations
go to the structures a reader trusts (headers, tables, unwind data, symbols, code) rather than evenly over the file.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError, parse
from tests.binary.builds import build, extra_binaries, stripped

__all__ = ["main", "mutate", "structures"]

NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)
MEMORY = 512 << 20


def structures(data: bytes) -> list[tuple[int, int]]:
    """Return (offset, size) of the structures of a valid binary that its readers trust, and of the complete file."""
    elf = parse(data)
    headers = int.from_bytes(data[40:48], "little")
    parts = [(0, 64), (64, 56 * len(elf.segments)), (headers, 64 * len(elf.sections)), (0, len(data))]
    parts += [(s.offset, s.size) for s in elf.sections if s.size and s.kind not in (0, 8) and s.size > 8]
    return [(start, size) for start, size in parts if start + size <= len(data) and size > 8]


def mutate(data: bytes, parts: list[tuple[int, int]], chance: random.Random) -> bytes:
    """Return a broken copy of `data`."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 40))):
        start, size = chance.choice(parts)
        position = start + chance.randrange(size)
        kind = chance.randrange(5)
        if kind == 0:
            broken[position] ^= 1 << chance.randrange(8)
        elif kind == 1:
            width, layout = chance.choice(((1, "<B"), (2, "<H"), (4, "<I"), (8, "<Q")))
            position -= (position - start) % width
            if position + width <= len(broken):
                struct.pack_into(layout, broken, position, chance.choice(NUMBERS) & (1 << 8 * width) - 1)
        elif kind == 2:
            length = min(chance.randrange(1, 64), len(broken) - position)
            broken[position : position + length] = chance.randbytes(length)
        elif kind == 3:
            source, width = chance.randrange(len(broken)), chance.randrange(1, 256)
            piece = bytes(broken[source : source + width])
            broken[position : position + len(piece)] = piece
        elif chance.random() < 0.2:
            del broken[position:]
            if not broken:
                return b""
            parts = [(0, len(broken))]
    return bytes(broken[: len(data)])


def _alarm(_: int, __: FrameType | None) -> None:
    raise TimeoutError("the case took too long")


def _one(data: bytes) -> str:
    try:
        analysis = analyse(data)
    except BinaryError as error:
        assert "\n" not in str(error)
        return "refused"
    assert BinaryAnalysis.from_dict(json.loads(json.dumps(analysis.to_dict()))) == analysis
    return "functions" if analysis.functions else "no functions"


def main() -> int:
    """Run; print the outcomes; exit 1 at the first case that is neither analysed nor refused."""
    parser = argparse.ArgumentParser(description="fuzz the ELF reader")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--limit", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    samples = [p.read_bytes() for p in (build("plain"), stripped("plain"), stripped("lto"), *extra_binaries())]
    prepared = [(data, structures(data)) for data in samples]
    signal.signal(signal.SIGPROF, _alarm)
    for data in samples:
        _one(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    end = time.monotonic() + given.seconds
    while time.monotonic() < end:
        case = mutate(*chance.choice(prepared), chance)
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_PROF, given.limit)
        try:
            outcomes[_one(case)] += 1
        except BaseException as error:
            Path("fuzz-elf-case").write_bytes(case)
            print(
                f"case {outcomes.total()}: {type(error).__name__}: {error}; stored in ./fuzz-elf-case", file=sys.stderr
            )
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.monotonic() - started)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        assert grown < MEMORY, f"the reader's memory grew by {grown} bytes"
    print(f"{outcomes.total()} cases in {given.seconds:.0f} s: {dict(outcomes)}; slowest {slowest:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
