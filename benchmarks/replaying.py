"""A real trace, recorded once and replayed on many hosts: what the benchmark of sweeps has in bpftrace's place."""

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
"""The number of the system call: perl's own module takes longer to load than perl."""
REPLAY = """\
#!/bin/sh
# Prints what bpftrace printed once, at the pace of then, as the program and the clock of now would have it printed.
case $* in *--version*) head -n 1 '{folder}/recording'; exit ;; esac
exec perl -e '
sub nsecs {{
    my $now = pack "q2";
    syscall {clock}, 1, $now;
    my ($seconds, $rest) = unpack "q2", $now;
    return $seconds * 1000000000 + $rest;
}}
open my $file, "<", "{folder}/recording" or die $!;
local $/;
my ($said, $text) = split /\\n/, <$file>, 2;
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


def stand_in(folder: Path) -> str:
    """What plays bpftrace: a script that replays the recording in the folder."""
    return REPLAY.format(folder=folder, clock=CLOCK_GETTIME[platform.machine()])


class Recorder:
    """A connection that keeps the scripts it is given."""

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
    """One trace."""

    folder: Path
    found: Discovery
    instance: Instance
    printed: bytes
    """What the trace's script printed."""
    text: bytes
    """What bpftrace printed in it."""
    settings: TraceSettings

    @property
    def size(self) -> int:
        return len(self.printed)

    def work(self, bpftrace: Path) -> str:
        """A script of all that a sweep runs on a host, one after the other."""
        recorder = Recorder(LocalTransport().connect(Target("here")))
        busy = sample_early(recorder, self.found.facts, [self.instance])
        trace = self._trace(str(bpftrace), endpoints=endpoint_lines(self.found.facts, [self.instance], busy.endpoints))
        scripts = [discovery_script((str(bpftrace),), "netns"), *recorder.scripts, trace.script()]
        for number, script in enumerate(scripts):
            (self.folder / f"work-{number}.sh").write_bytes(script)
        # An input that does not end: the trace's script takes its end for the controller's.
        lines = [f"[ -p {self.folder}/open ] || mkfifo {self.folder}/open 2>/dev/null", f"exec 0<>{self.folder}/open"]
        lines += [f"sh {self.folder}/work-{number}.sh" for number in range(len(scripts))]
        return "\n".join([*lines, "echo", "echo end-of-work", ""])

    def parsing_s(self, rounds: int = 20) -> float:
        """CPU seconds that the controller needs to read the trace of one host."""
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
    """An execution that printed all of it already."""

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


def recorded(folder: Path, pid: int, port: int, window_s: int) -> Recording:
    """Trace the memcached with the machine's bpftrace while it is asked for `KEYS`; keep what that printed."""
    connection = LocalTransport().connect(Target("here"))
    found = discover(connection, ("bpftrace",), "netns")
    instance = next(one for one in found.instances if one.pid == pid)
    settings = TraceSettings(float(window_s))
    trace = trace_of(found, instance, settings, "bpftrace")
    with asking(port):
        execution = connection.start(trace.script(), trace.limits)
        printed = b"".join(chunk.data for chunk in execution if chunk.stream is Stream.OUT)
        execution.close()
    text = printed.partition(b"trace\0\0")[2].partition(b"\0")[0]
    (folder / "recording").write_bytes(found.facts.bpftrace_output.encode() + b"\n" + text)
    (folder / "recording").chmod(0o644)
    return Recording(folder, found, instance, printed, text, settings)


def trace_of(
    found: Discovery, instance: Instance, settings: TraceSettings, bpftrace: str, endpoints: str = ""
) -> HostTrace:
    """A trace of this memcached."""
    version = found.facts.bpftrace
    assert version is not None
    plan = choose(analyse(Path(f"/proc/{instance.pid}/exe").read_bytes()))
    layout = key_layout((version.major, version.minor, version.patch))
    return HostTrace((bpftrace,), [(instance, plan)], layout, settings, endpoints=endpoints)


@contextmanager
def asking(port: int) -> Iterator[None]:
    """Ask for the keys in turn, a few thousand times a second, for as long as the block lasts."""
    done = threading.Event()

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for start in cycle(range(0, len(KEYS), 20)):
                if done.wait(0.005):
                    return
                connection.sendall(b"".join(b"get %b\r\n" % key for key in KEYS[start : start + 20]))
                answers = 0
                while answers < 20:
                    answers += connection.recv(65536).count(b"END\r\n")

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        done.set()
        asker.join()
