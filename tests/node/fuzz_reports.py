"""Whole reports of a node, mutated: a discovery's, and a trace's with its records, output and samples. And inputs that
grow: twice as much of anything takes at most twice the time and memory. Part of `python -m tests.node.fuzz_output`.

A mutated report is understood, or refused with one of the codes of such a host. Whatever is understood has numbers that
can be stored and added up, and no key has more than all together.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

from fleettrace.errors import HostError
from fleettrace.node.discovery import parse_discovery
from fleettrace.node.host_counters import host_stats
from fleettrace.node.output import OutputParser
from fleettrace.node.plausible import MAX_INSTANCES, MAX_INTEGER, MAX_PID, ImplausibleError
from fleettrace.node.records import RecordReader
from fleettrace.node.samples import SampleReader
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.selection import preview
from fleettrace.summary.host_stats import document_of, host_stats_of
from fleettrace.transport.interface import Chunk, Stream
from tests.node.bpftrace_text import NONCE, Printed, chunked, render
from tests.node.reports import LAYOUT, PID, SECOND, START, N, Sent, entry, instance, node, report

__all__ = ["CODES", "PIECES", "READERS", "grows_linearly", "one"]

CODES = {"implausible-output", "discovery-garbled"}
TRACE_CODES = {"implausible-output", "attach-failed", "probes-missing", "no-slice"}
PIECES = (
    b"\0", b"\0\0", b"process\0", b"binary\0", b"listens\0", b"end\0", b"stuck\0", b"trace\0\0", b"status\0",
    b"containers-crictl\0",
    b"clocks\0", b"process-after\0", b"9" * 19, b"9" * 30, b"1" * 4400, b"-1", b"\n", b"]: 7\n", b"]: ", b"[", b", ",
    b"x", b"\xff",
    b"@a_%b[%d, " % (N, PID << 32 | 1), b"@c_%b[%d, " % (N, PID << 32 | 99), b"@na_%b[7]: " % N, b"@nb_%b[8]: 1\n" % N,
    b"@m_%b[%d, k, , , ]: 9\n" % (N, PID << 32 | 1), b"@a_%b[0, " % N, b"#%b slice a " % N, b"#%b last b 5\n" % N,
    b"#%b end\n" % N, b"#%b start 5\n" % N, b"@now_%b: " % N, b"@w_%b: 1\n" % N, b"@_asked_%b: 1\n" % N, b"@a_%b[" % N,
    b"Attaching 4 probes...\n", b"\0007 100 101 5 7\0", b"\0007 9999 ",
    b"\0007 100 101 5 7 9 " + b"5," * 17 + b"%d\0" % 2**64, b"\0007 900 901 5 8 9 " + b"7," * 17 + b"-\0",
    b"\0007 100 classes 5 12:5:96\0", b"\0007 900 classes 99 12:9:-,999:90:96\0",
    b" classes ", b":96,", b"0100007F:2BCB ", b"!/proc/7/exe ",
)  # fmt: skip
SAMPLES = (
    b"ERROR: no\n\0007 100 101 5 7\0\0007 100 classes 5 12:5:96,13:0:-\0"
    b"\0007 100 101 5 7 9 %b\0\0007 900 901 5 8 9 %b\0\0007 900 classes 9 12:9:96,13:0:-\0"
) % (b",".join([b"5"] * 18), b",".join([b"7"] * 18))
GROWS = 1 << 17
"""Bytes of the smaller input."""
NOISE_S = 0.05
NOISE_BYTES = 64 << 10
SLACK = 1.3
"""Of time for the machine, and of memory: lists and dictionaries grow in steps of an eighth and more."""


def mutated(text: bytes, chance: random.Random) -> bytes:
    """A copy with pieces of the grammar, or chance bytes, put in or over it, or parts of it left out or repeated."""
    broken = bytearray(text)
    for _ in range(chance.randrange(1, 12)):
        at = chance.randrange(len(broken) + 1)
        piece = chance.choice([*PIECES, chance.randbytes(8), bytes(broken[at : at + chance.randrange(1, 200)])])
        broken[at : at + chance.choice((0, 1, len(piece), 40))] = piece * chance.choice((1, 1, 1, 2, 50))
    return bytes(broken)


def a_discovery(chance: random.Random) -> None:
    """A discovery's report is understood, or refused by a code."""
    processes = [{b"process": b"%d" % (pid + 2)} for pid in range(chance.randrange(1, 4))]
    try:
        found = parse_discovery(mutated(node(*processes), chance))
    except HostError as error:
        assert error.code in CODES
        assert len(error.message) < 600
        return
    assert len(found.instances) <= MAX_INSTANCES
    assert len({each.pid for each in found.instances}) == len(found.instances)
    for each in found.instances:
        assert 0 <= each.pid <= MAX_PID
        assert 0 <= each.start <= MAX_INTEGER
        assert all(0 <= port < 1 << 16 for port in each.ports)


class Both(Sent):
    """Prints to both streams."""

    def __init__(self, words: bytes, *chunks: bytes) -> None:
        super().__init__(*chunks)
        self._words = words

    def __iter__(self) -> Iterator[Chunk]:
        yield Chunk(Stream.ERR, self._words)
        yield from super().__iter__()


def a_trace(chance: random.Random) -> None:
    """A trace's report gives numbers that can be true, or is refused by a code."""
    slices = []
    for number in range(chance.randrange(1, 4)):
        some = [entry(b"key:%d" % index * chance.choice((1, 20)), chance.randrange(1, 99)) for index in range(9)]
        total = sum(each.requests for each in some) + chance.randrange(9)
        slices.append(Printed("ab"[number % 2], START + (number + 1) * SECOND // 2, {PID: total}, some))
    stat = b"7 7 (memcached) S" + b" 1" * 18 + b" 5 1\0"
    records = b"process-before\0" + stat + b"shell-before\0" + stat
    text = report(render(slices, LAYOUT.piece, LAYOUT.pieces), records=records)
    text = mutated(text, chance)
    settings = TraceSettings(2.0)
    trace = HostTrace(["bpftrace"], [(instance(), preview(ProbeOptions(misses=True)))], LAYOUT, settings, nonce=NONCE)
    chunks = chunked(text, [chance.randrange(len(text) + 1) for _ in range(chance.randrange(4))])
    words = mutated(SAMPLES, chance)[: 32 * 1024]
    try:
        end = trace.read(Both(words, *chunks))
    except HostError as error:
        assert error.code in TRACE_CODES, error.code
        assert len(error.message) < 1000
        return
    assert 0 <= end.window_s < 300
    own, classes = end.samples.get(PID, []), end.classes.get(PID, ())
    stats = host_stats(own, classes, end.start_ns, end.start_ns + SECOND)
    assert host_stats_of(document_of(stats)).evicting_class == stats.evicting_class
    for summary in end.summaries.values():
        assert 0 <= summary.total <= MAX_INTEGER >> 10
        assert len(summary.timeline) < 300
        assert summary.absent >= 0
        for count in summary.keys.values():
            assert 0 < count.requests <= summary.total + 5000
            assert len(count.timeline) < 300


def records(text: bytes) -> None:
    """Read it as records."""
    reader = RecordReader()
    for chunk in chunked(text, range(4096, len(text), 4096)):
        for _ in reader.feed(chunk):
            pass


def samples(text: bytes) -> None:
    """Read it as standard error."""
    reader = SampleReader()
    for chunk in chunked(text, range(4096, len(text), 4096)):
        reader.feed(chunk)


def output(text: bytes) -> None:
    """Read it as what bpftrace prints."""
    parser = OutputParser(LAYOUT.piece, LAYOUT.pieces, NONCE)
    for chunk in chunked(text, range(4096, len(text), 4096)):
        parser.feed(chunk)
    parser.finish()


def discovery(text: bytes) -> None:
    """Read it as a discovery."""
    parse_discovery(text + b"end\0x\0")


def seconds(read: Callable[[bytes], None], text: bytes) -> float:
    """CPU seconds of this thread that a reader takes, also to refuse it."""
    began = time.thread_time()
    with suppress(HostError, ImplausibleError):
        read(text)
    return time.thread_time() - began


READERS = (records, samples, output, discovery)


def memory(read: Callable[[bytes], None], text: bytes) -> int:
    """Bytes of memory that a reader takes at most, without the input."""
    tracemalloc.start()
    try:
        with suppress(HostError, ImplausibleError):
            read(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def grows_linearly(read: Callable[[bytes], None], small: bytes, large: bytes) -> None:
    """Raise AssertionError when `large`, twice as long, takes more than twice the time or memory, and some noise."""
    for attempt in range(4):
        first, second = seconds(read, small), seconds(read, large)
        if second <= 2 * first * SLACK + NOISE_S:
            break
        assert attempt < 3, f"{read.__name__} of {small[:80]!r}...: {first:.3f} s, then {second:.3f} s"
    held, more = memory(read, small), memory(read, large)
    assert more <= 2 * held * SLACK + NOISE_BYTES, f"{read.__name__} of {small[:80]!r}...: {held} bytes, then {more}"


def growing(chance: random.Random) -> None:
    """Twice the input takes at most twice the time and memory."""
    unit = b"".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 4)))
    head = chance.choice((b"", b"#%b slice a 5\n" % N, b"t\0", b"\0", b"trace\0\0"))
    # An even number of whole units: both inputs end in the same state of the reader, and cost by their lengths alone.
    units = GROWS // len(unit) // 2 * 2
    small, large = head + unit * units, head + unit * 2 * units
    for read in READERS:
        grows_linearly(read, small, large)


def one(chance: random.Random) -> str:
    """One case; gives its kind. Raises AssertionError where something is wrong."""
    kind = chance.choice(("discovery", "trace", "discovery", "trace", "discovery", "trace", "growing"))
    {"discovery": a_discovery, "trace": a_trace, "growing": growing}[kind](chance)
    return kind
