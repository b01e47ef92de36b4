"""Truthful reports of a node: of itself, and around a trace of one memcached."""

from __future__ import annotations

from collections.abc import Iterator

from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.output import Entry
from fleettrace.probes.layout import key_layout
from fleettrace.transport.interface import Chunk, Stream
from tests.node.bpftrace_text import NONCE
from tests.sweep.fakes import EMPTY_NODE

__all__ = ["LAYOUT", "PID", "SECOND", "START", "N", "Sent", "entry", "instance", "node", "report"]

SECOND = 1_000_000_000
START = 1000 * SECOND
PID = 7
LAYOUT = key_layout((0, 17, 0))
BINARY = NodeBinary("1:2", 1000, None)
N = NONCE.encode()


class Sent:
    """An execution that prints what it is given."""

    exit_status: int | None = 0

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self._chunks:
            yield Chunk(Stream.OUT, chunk)

    def stop(self) -> None: ...

    def end_within(self, seconds: float) -> None: ...

    def close(self) -> None: ...


def instance(pid: int = PID) -> Instance:
    return Instance(pid, 5, BINARY, b"/usr/bin/memcached", None, (11211,), None)


def entry(key: bytes, requests: int, pid: int = PID) -> Entry:
    return Entry(pid, 0, len(key), key, requests, len(key) > LAYOUT.short)


def report(body: bytes, *, records: bytes = b"") -> bytes:
    """What trace.sh prints around the output of a bpftrace that starts in time."""
    head = b"clocks\0%d.00 %d\0trace\0\0" % (START // SECOND, START) + records
    text = b"Attaching 4 probes...\n#%b start %d\n" % (N, START)
    return head.replace(b"trace\0\0" + records, records + b"trace\0\0") + text + body + b"\0status\0000\0end\0\0"


FIELDS = {
    b"process": b"7", b"start": b"5", b"inode": b"1:2", b"exe": b"/memcached", b"uid": b"0", b"user": b"root",
    b"cgroup": b"0::/", b"netns": b"net:[1]", b"listens": b"0100007F:2BCB",
}  # fmt: skip


def node(*processes: dict[bytes, bytes], **facts: bytes) -> bytes:
    """A discovery's report, with these processes of one binary."""
    text = EMPTY_NODE.removesuffix(b"end\0000\0")
    for name, value in facts.items():
        before, _, rest = text.partition(b"%b\0" % name.encode())
        text = before + b"%b\0%b\0" % (name.encode(), value) + rest.partition(b"\0")[2]
    text += b"binary\0001:2\0size\0001000\0sha256\0\0"
    for process in processes:
        text += b"".join(b"%b\0%b\0" % item for item in (FIELDS | process).items())
    return text + b"end\0001\0"
