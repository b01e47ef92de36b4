"""Record a real trace once and replay it on many hosts: the stand-in for bpftrace in the benchmark of sweeps."""

from __future__ import annotations

import platform
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from fleettrace.binary.analysis import analyse
from fleettrace.node.discovery import discover, discovery_script
from fleettrace.node.model import Discovery, Instance
from fleettrace.node.request_rates import endpoint_lines, sample_early
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import TraceSettings
from fleettrace.probes.selection import choose
from fleettrace.transport.interface import Chunk, Connection, Execution, Limits, Stream, Target
from fleettrace.transport.local.transport import LocalTransport

__all__ = ["KEYS", "Recording", "recorded", "stand_in"]

KEYS = [b"user:%06d:profile" % (number * 7919 % 1_000_000) for number in range(200)]
CLOCK_GETTIME = {"x86_64": 228, "aarch64": 113}
"""The number of the system call. Loading perl's own module for it would take longer than starting perl."""
REPLAY = """\
#!/bin/sh
# Prints bpftrace's recorded output at its original pace, with the current program's nonce and the current time.
case $* in *--version*) head -n 1 '{directory}/recording'; exit ;; esac
exec perl -e '
sub nsecs {{
    my $now = pack "q2";
    syscall {clock}, 1, $now;
    my ($seconds, $rest) = unpack "q2", $now;
    return $seconds * 1000000000 + $rest;
}}
open my $file, "<", "{directory}/recording" or die $!;
local $/;
my ($version, $text) = split /\\n/, <$file>, 2;
my ($now) = "@ARGV" =~ /\\@na_(\\w+)/ or die "not a program of ours";
my ($then, $start) = $text =~ /^#(\\w+) start (\\d+)/m;
if ("@ARGV" =~ /nsecs >= (\\d+)/) {{
    my $wait = ($1 - nsecs) / 1e9;
    select undef, undef, undef, $wait if $wait > 0;
}}
my $shift = nsecs() - $start;
$text =~ s/$then/$now/g;
$text =~ s/^(#$now (?:start|slice \\w|last \\w) )(\\d+)/$1 . ($2 + $shift)/gme;
for my $part (split /(?=^#$now (?:slice|last) )/m, $text) {{
    my ($end) = $part =~ /^#\\w+ (?:slice|last) \\w (\\d+)/;
    my $wait = defined $end ? ($end - nsecs) / 1e9 : 0;
    select undef, undef, undef, $wait if $wait > 0;
    syswrite STDOUT, $part;
}}' -- "$@"
"""


def stand_in(directory: Path) -> str:
    """Return the stand-in for bpftrace: a script that replays the recording in the directory."""
    return REPLAY.format(directory=directory, clock=CLOCK_GETTIME[platform.machine()])


class Recorder:
    """A connection that records the scripts it starts."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.scripts: list[bytes] = []

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Execution:
        """As `Connection.start`."""
        self.scripts.append(script)
        return self._connection.start(script, limits, keep_shell=keep_shell)

    def close(self) -> None:
        """As `Connection.close`."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded trace."""

    directory: Path
    found: Discovery
    instance: Instance
    printed: bytes
    """The output of the trace's script."""
    text: bytes
    """bpftrace's output in it."""
    settings: TraceSettings

    @property
    def size(self) -> int:
        return len(self.printed)

    def work(self, bpftrace: Path) -> str:
        """Return a script of everything that a sweep runs on a host, in order."""
        recorder = Recorder(LocalTransport().connect(Target("here")))
        busy = sample_early(recorder, self.found.facts, [self.instance])
        trace = self._trace(str(bpftrace), endpoints=endpoint_lines(self.found.facts, [self.instance], busy.endpoints))
        scripts = [discovery_script((str(bpftrace),), "netns"), *recorder.scripts, trace.script()]
        for number, script in enumerate(scripts):
            (self.directory / f"work-{number}.sh").write_bytes(script)
        # An input that does not end: at its end, the trace's script stops, as if the controller had ended.
        lines = [
            f"[ -p {self.directory}/open ] || mkfifo {self.directory}/open 2>/dev/null",
            f"exec 0<>{self.directory}/open",
        ]
        lines += [f"sh {self.directory}/work-{number}.sh" for number in range(len(scripts))]
        return "\n".join([*lines, "echo", "echo end-of-work", ""])

    def parsing_s(self, rounds: int = 20) -> float:
        """Return the CPU seconds that the controller needs to read the trace of one host."""
        took = []
        for _ in range(rounds):
            trace = self._trace("bpftrace")
            then, now = (re.search(rb"na_(\w+)", text) for text in (self.text, trace.program.encode()))
            assert then and now
            printed = self.printed.replace(then[1], now[1])
            began = time.process_time()
            end = trace.read(Replayed(printed))
            took.append(time.process_time() - began)
            assert end.complete and end.summaries[self.instance.pid].total
        return sorted(took)[rounds // 2]

    def _trace(self, bpftrace: str, endpoints: str = "") -> HostTrace:
        return trace_of(self.found, self.instance, self.settings, bpftrace, endpoints)


class Replayed:
    """An execution that has printed all of its output."""

    def __init__(self, printed: bytes) -> None:
        self._printed = printed

    def __iter__(self) -> Iterator[Chunk]:
        size = 32 * 1024
        return (Chunk(Stream.OUT, self._printed[at : at + size]) for at in range(0, len(self._printed), size))

    @property
    def exit_status(self) -> int | None:
        """As `Execution.exit_status`."""
        return 0

    def stop(self) -> None:
        """As `Execution.stop`."""

    def end_within(self, seconds: float) -> None:
        """As `Execution.end_within`."""

    def close(self) -> None:
        """As `Execution.close`."""


def recorded(directory: Path, pid: int, port: int, window_s: int) -> Recording:
    """Trace the memcached with the machine's bpftrace under requests for `KEYS`, and store the output."""
    connection = LocalTransport().connect(Target("here"))
    found = discover(connection, ("bpftrace",), "netns")
    instance = next(one for one in found.instances if one.pid == pid)
    settings = TraceSettings(float(window_s))
    trace = trace_of(found, instance, settings, "bpftrace")
    with requesting(port):
        execution = connection.start(trace.script(), trace.limits)
        printed = b"".join(chunk.data for chunk in execution if chunk.stream is Stream.OUT)
        execution.close()
    text = printed.partition(b"trace\0\0")[2].partition(b"\0")[0]
    (directory / "recording").write_bytes(found.facts.bpftrace_output.encode() + b"\n" + text)
    (directory / "recording").chmod(0o644)
    return Recording(directory, found, instance, printed, text, settings)


def trace_of(
    found: Discovery, instance: Instance, settings: TraceSettings, bpftrace: str, endpoints: str = ""
) -> HostTrace:
    """Return a trace of this memcached."""
    version = found.facts.bpftrace
    assert version is not None
    plan = choose(analyse(Path(f"/proc/{instance.pid}/exe").read_bytes()))
    layout = key_layout((version.major, version.minor, version.patch))
    return HostTrace((bpftrace,), [(instance, plan)], layout, settings, endpoints=endpoints)


@contextmanager
def requesting(port: int) -> Iterator[None]:
    """Request the keys in turn, a few thousand times a second, while the block runs."""
    done = threading.Event()

    def request() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for start in cycle(range(0, len(KEYS), 20)):
                if done.wait(0.005):
                    return
                connection.sendall(b"".join(b"get %b\r\n" % key for key in KEYS[start : start + 20]))
                answers = 0
                while answers < 20:
                    answers += connection.recv(65536).count(b"END\r\n")

    client = threading.Thread(target=request)
    client.start()
    try:
        yield
    finally:
        done.set()
        client.join()
