"""Record what a real bpftrace prints of a real memcached: input of test_readers_agree.py and of benchmarks/parsing.py.

    python -m tests.node.record_output [--release bookworm trixie] [--directory tests/node/recorded]

For each release there are two traces: a complete one with misses, and one that is stopped in its window. Their clients
ask for short and long keys, with newlines, NULs and text that resembles output. `plain`, with the machine's own
bpftrace, has 200 short keys in five slices, as a host of a fleet prints them. The first line of a file has the nonce of
the program and the layout of long keys. Needs root, and debootstrap for another release.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from fleettrace.binary.analysis import analyse
from fleettrace.lab.build import memcached_binary
from fleettrace.lab.system import wait_until
from fleettrace.node.discovery import discover
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.selection import choose
from fleettrace.transport.interface import Stream, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.e2e.local import answers, free_port
from tests.matrix.roots import bpftrace_of, bpftrace_version

__all__ = ["main"]

PLAIN = [b"user:%06d:profile" % (number * 7919 % 1_000_000) for number in range(200)]
ODD = [
    *PLAIN[:30], *(b"long:%d:" % number + b"k" * size for number, size in enumerate((65, 66, 100, 200, 243))),
    b"]: 7\n", b"k]: 7\n@a_1[30064771075, 1, 0]: 5\n", b"\n\n#end\n", b", , ", b"\xff\xfe", b"a\0b", b"\0\0\0",
    b"x" * 80 + b"]: 7\n\n@c_1[9, ", b"y" * 100 + b"\0" + b"z" * 100, b"\n" * 90, b", " * 60, b"#1 slice a 5\n" * 8,
]  # fmt: skip


@contextmanager
def asking(port: int, keys: Sequence[bytes]) -> Iterator[None]:
    """Ask for the keys in turn, some thousand times a second, while the block runs."""
    done = threading.Event()
    lines = [b"mg %b b\r\n" % b64encode(key) for key in keys]

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"".join(b"ms %b 1 b\r\nx\r\n" % b64encode(key) for key in keys[::2]))
            for start in cycle(range(0, len(lines), 7)):
                if done.wait(0.001):
                    return
                connection.sendall(b"".join(lines[start : start + 7]))
                connection.recv(1 << 20)

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        done.set()
        client.join()


def record(bpftrace: str, pid: int, port: int, keys: Sequence[bytes], settings: TraceSettings, stop_s: float) -> bytes:
    """Trace the memcached and return bpftrace's output behind its first line; `stop_s` is 0 for a complete trace."""
    connection = LocalTransport().connect(Target("here"))
    found = discover(connection, (bpftrace,), "netns")
    instance = next(one for one in found.instances if one.pid == pid)
    version = found.facts.bpftrace
    assert version is not None
    layout = key_layout((version.major, version.minor, version.patch))
    plan = choose(analyse(Path(f"/proc/{pid}/exe").read_bytes()), ProbeOptions(misses=keys is ODD))
    trace = HostTrace((bpftrace,), [(instance, plan)], layout, settings)
    printed = b""
    with asking(port, keys):
        execution = connection.start(trace.script(), trace.limits)
        for chunk in execution:
            if chunk.stream is Stream.OUT:
                printed += chunk.data
                if stop_s and b" start " in chunk.data:
                    threading.Timer(stop_s, execution.stop).start()
        execution.close()
    text = printed.partition(b"trace\0\0")[2].partition(b"\0")[0]
    return b"%b %d %d\n" % (trace.nonce.encode(), layout.piece, layout.pieces) + text


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", nargs="*", default=["bookworm"])
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent / "recorded")
    given = parser.parse_args()
    port = free_port()
    command = [str(memcached_binary()), "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-t", "2"]
    with subprocess.Popen(command) as memcached, tempfile.TemporaryDirectory() as directory:
        try:
            wait_until(lambda: answers(port), "memcached does not answer", seconds=10)
            for release in given.release:
                bpftrace = bpftrace_of(release, Path(directory))
                version = bpftrace_version(release, Path(directory))
                for name, keys, settings, stop_s in (
                    (version, ODD, TraceSettings(3.0, printed=40), 0.0),
                    (f"{version}-stopped", ODD, TraceSettings(30.0, printed=40), 2.5),
                    *([("plain", PLAIN, TraceSettings(5.0), 0.0)] if release == given.release[0] else []),
                ):
                    text = record(bpftrace, memcached.pid, port, keys, settings, stop_s)
                    (given.directory / f"{name}.txt").write_bytes(text)
                    print(f"{name}: {len(text)} bytes")
                    time.sleep(0.5)
        finally:
            memcached.terminate()


if __name__ == "__main__":
    main()
