"""Running the trace on one host, and turning what it prints into summaries as it comes."""

from __future__ import annotations

import re
import shlex
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex

from fleettrace.errors import HostError, HostState
from fleettrace.node.binding import RefusedError, refusals, target_lines
from fleettrace.node.discovery import set_words
from fleettrace.node.journal import entry, user_and_host
from fleettrace.node.model import Instance
from fleettrace.node.namespace import namespaced
from fleettrace.node.output import Attached, Event, OutputParser, RawSlice, Started, UnparsedLine
from fleettrace.node.plausible import ENDING_S, STARTUP_S, ImplausibleError, OutputBounds, implausible
from fleettrace.node.records import Record, RecordReader
from fleettrace.node.request_rates import assignments
from fleettrace.node.samples import Sample, SampleReader, by_process, in_order
from fleettrace.node.scripts import script_text
from fleettrace.node.slicing import Slicer
from fleettrace.node.stderr_lines import complaints, no_error
from fleettrace.node.trace_end import (
    NOT_ATTACHED,
    OVERWRITTEN,
    SLOW_START,
    UNSTOPPABLE,
    AttachError,
    ProgramRefusedError,
    TracedProcess,
    TraceEnd,
    children_s,
    reported_processes,
)
from fleettrace.node.verifier import logged, refused, verifier_reason
from fleettrace.probes.model import KeyLayout, ProbeKind, ProbePlan, TraceSettings
from fleettrace.probes.program import ProbeTarget, program, unsafe, uprobe_count
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure
from fleettrace.transport.interface import Chunk, Execution, Limits, Stream

__all__ = ["HostTrace", "probe_targets"]

_WORDS_KEPT = 8192
_TAGS = frozenset(
    (
        *(f"{what}-{when}" for what in ("process", "exe", "shell") for when in ("before", "after")),
        *("clocks", "trace", "status", "end", "held", "refused"),
    )
)
"""The records that trace.sh reports and somebody reads."""
_DENSE_S = 0.25
_SAME_CLOCK_NS = 50_000_000
"""Two clocks that are no farther apart were only read one after the other."""

_EXE = re.compile(rb"^/proc/(\d{1,10})/exe (\d{1,20}:\d{1,20})$", re.MULTILINE)


def probe_targets(plans: Sequence[tuple[Instance, ProbePlan]]) -> list[ProbeTarget]:
    """One site for each real inode and probe kind: a uprobe fires for every process of the inode. A proxy is traced by
    another kind than a server of the same binary."""
    by_inode: dict[tuple[str, ProbeKind], tuple[ProbePlan, list[int]]] = {}
    for instance, plan in plans:
        by_inode.setdefault((instance.binary.inode, plan.probe_kind), (plan, []))[1].append(instance.pid)
    return [ProbeTarget(plan, tuple(pids), namespaced(pids, plans)) for plan, pids in by_inode.values()]


class HostTrace:
    """One trace: its script, and the state of reading it. `on_start` and `on_slice` hear as things happen.

    `places` are the memcacheds to look at meanwhile, as `rates.look_at` writes them; `looks` is what was seen before.
    With `begin_ns` the counting does not begin before that time of the node's monotonic clock, for which the script is
    started `lead_s` earlier. `startup_s` bounds the time from there until the counting begins. `nonce` is that of a
    script that runs already, which has its bounds. `run` is the run's id, for the node's log.
    """

    def __init__(
        self,
        bpftrace: Sequence[str],
        plans: Sequence[tuple[Instance, ProbePlan]],
        layout: KeyLayout,
        settings: TraceSettings,
        *,
        bucket_s: float = 1.0,
        places: str = "",
        looks: Sequence[Sample] = (),
        begin_ns: int | None = None,
        lead_s: float = 0.0,
        startup_s: float = STARTUP_S,
        nonce: str | None = None,
        run: str = "",
        on_start: Callable[[], None] = lambda: None,
        on_slice: Callable[[Mapping[int, Summary]], None] | None = None,
    ) -> None:
        self._bpftrace = bpftrace
        self._plans = {instance.pid: (instance, plan) for instance, plan in plans}
        self._sites = probe_targets(plans)
        self._layout = layout
        self._settings = settings
        self._places = places
        self._early_looks = looks
        self._on_start = on_start
        self._on_slice = on_slice
        self._records = RecordReader()
        self._looks = SampleReader()
        self._start_ns = 0
        self._begin_ns = begin_ns
        self._lead_s = lead_s
        self._startup_s = startup_s
        self._starts_here = nonce is None
        self._run = run
        self._slow_s: float | None = None
        self._nonce = nonce or token_hex(4)
        scripted = any(plan.script is not None for _, plan in plans)
        self._bounds = OutputBounds.of(len(plans), settings, script=scripted)
        self._parser = OutputParser(layout.piece, layout.pieces, self._nonce, self._bounds)
        self._slicer = Slicer({pid: plan for pid, (_, plan) in self._plans.items()}, settings, bucket_s)
        self._attached: int | None = None
        self._seen: dict[str, list[bytes]] = {}
        self._words = bytearray()
        self._last_words = b""
        self._noise: list[bytes] = []

    @property
    def program(self) -> str:
        """The bpftrace program's text."""
        detached = self._begin_ns is not None
        text = program(self._sites, self._layout, self._settings, self._nonce, marked=detached)
        if not detached:
            return text
        ready = f"@ready_{self._nonce} = 1;"
        return text.replace(ready, f"if (nsecs >= {self._begin_ns:d}) {{ {ready} }}", 1)

    @property
    def nonce(self) -> str:
        """What tells the program's own words from everybody else's."""
        return self._nonce

    @property
    def limits(self) -> Limits:
        """The bounds on the controller's side: a little wider than those on the node."""
        return Limits(seconds=self._seconds + 30, max_bytes=self._bounds.max_bytes)

    @property
    def _seconds(self) -> float:
        return self._lead_s + self._startup_s + self._settings.duration_s + ENDING_S

    def script(self) -> bytes:
        """The script for the node."""
        text = self.program
        bpftrace = [*self._bpftrace, "--unsafe"] if unsafe(self._sites, text) else self._bpftrace
        variables = {
            "program": text,
            "seconds": f"{self._seconds:.0f}",
            "pids": " ".join(str(pid) for pid in self._plans),
            "strings": str(self._layout.strlen),
            "entries": str(self._settings.entries),
            "sites": target_lines(self._bound),
            "guard_pl": script_text("guard.pl"),
            "detached": "no" if self._begin_ns is None else "yes",
            "logged": entry(self._run, user_and_host(), self._plans),
        }
        own = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
        steps = script_text("input.sh", "identity.sh", "abandoned.sh", "binding.sh", "definitions.sh", "trace.sh")
        looking = assignments(self._timing, self._places)
        return (set_words(bpftrace) + own + looking + steps).encode()

    @property
    def _timing(self) -> str:
        """How often to look (see stats.sh): some sixty times, most of them where the window begins and ends."""
        sparse = max(1.0, self._settings.duration_s / 36)
        return f"{_DENSE_S} {sparse:.2f} {sparse * 100:.0f} {(self._lead_s + self._settings.duration_s) * 100:.0f}"

    @property
    def _bound(self) -> list[list[tuple[Instance, ProbePlan]]]:
        return [[self._plans[pid] for pid in site.pids] for site in self._sites]

    def read(self, execution: Execution) -> TraceEnd:
        """Read the trace to its end. Raises `HostError` when nothing was traced, or when the node sent what cannot be
        true; a later break is in the result."""
        try:
            return self._read(execution)
        except ImplausibleError as error:
            raise implausible(error) from None

    def _read(self, execution: Execution) -> TraceEnd:
        broken: HostError | None = None
        began = time.monotonic()
        try:
            for chunk in execution:
                counting = self._slicer.started
                self._take(chunk)
                if self._slicer.started and not counting:
                    execution.end_within(self._settings.duration_s + ENDING_S)
                elif not self._slicer.started:
                    self._watch_startup(execution, time.monotonic() - began)
        except HostError as error:
            broken = error
        finally:
            execution.close()
        self._events(self._parser.finish(whole=self._printed_all))
        self._check(broken)
        return self._end(broken)

    def _watch_startup(self, execution: Execution, waited_s: float) -> None:
        """Stop a trace that does not begin to count. The samples that arrive every second or so call this in time; on a
        node that prints nothing at all the bounds of the script hold."""
        if self._starts_here and self._slow_s is None and waited_s > self._lead_s + self._startup_s:
            self._slow_s = waited_s
            execution.stop()
            execution.end_within(ENDING_S)

    @property
    def _printed_all(self) -> bool:
        """Whether bpftrace came to its own end and printed what it had left: it does when it is interrupted, not when
        it is killed or crashes, and not always when it is interrupted while it writes."""
        status = (self._seen.get("status") or [b"killed"])[-1]
        # sh adds 128 to the number of a signal.
        code = int(status) if re.fullmatch(rb"\d{1,3}", status) else 128
        ended = code < 128 or code - 128 in (signal.SIGINT, signal.SIGTERM)
        return ended and self._parser.complete and not self._slicer.garbled

    def _take(self, chunk: Chunk) -> None:
        if chunk.stream is Stream.ERR:
            words = self._looks.feed(chunk.data)
            if len(self._words) < _WORDS_KEPT:
                self._words += words
            else:
                # The reason stands at the end of a verifier's log, which may be long.
                self._last_words = (self._last_words + words)[-_WORDS_KEPT:]
            return
        for item in self._records.feed(chunk.data):
            if isinstance(item, Record):
                if item.tag in _TAGS:
                    self._seen.setdefault(item.tag, []).append(item.value)
            else:
                self._events(self._parser.feed(item))

    def _events(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Attached(probes):
                    self._attached = probes
                    self._check_attached()
                case Started(ns):
                    self._start_ns = self._start_ns or ns
                    self._slicer.start(ns)
                    self._on_start()
                case RawSlice():
                    parts = self._slicer.add(event, self._parser.now_ns, apart=self._on_slice is not None)
                    if self._on_slice is not None:
                        self._on_slice(parts)
                case UnparsedLine(line):
                    if len(self._noise) < 20:
                        self._noise.append(line)

    def _check_attached(self) -> None:
        """Raise when bpftrace has left out a probe: up to 0.20 it does so without a word, and it is no use to wait."""
        want = uprobe_count(self._traced_sites)
        if want is not None and self._attached is not None and self._attached != want:
            message = f"bpftrace attached {self._attached} probes instead of {want}{self._said()}"
            raise AttachError(NOT_ATTACHED[1], message, self._gone())

    def _check(self, broken: HostError | None) -> None:
        """Raise unless something was traced."""
        if (refusals := self._refused) and ("trace" not in self._seen or refusals.keys() >= self._plans.keys()):
            raise RefusedError(refusals)
        self._check_attached()
        if self._slicer.slices:
            return
        if not self._slicer.started and self._out_of_time(broken):
            raise self._slow_start()
        if broken is not None:
            raise broken
        if self._slicer.started:
            raise HostError(HostState.TRACE_FAILED, "no-slice", f"bpftrace ended before its first slice{self._said()}")
        if UNSTOPPABLE.encode() in self._words:
            raise HostError(HostState.TRACE_FAILED, UNSTOPPABLE, f"nothing was traced{self._said()}")
        if OVERWRITTEN.encode() in self._words:
            raise HostError(HostState.TRACE_FAILED, OVERWRITTEN, f"its trace was ended{self._said()}")
        log = b"\n".join((self._words, self._last_words, *self._noise))
        if refused(log):
            reason = self._by_pid((verifier_reason(log) or "bpftrace does not say why").encode()).decode()
            raise ProgramRefusedError(reason, logged=logged(log))
        raise AttachError(NOT_ATTACHED[0], f"bpftrace did not start to trace{self._said()}", self._gone())

    def _out_of_time(self, broken: HostError | None) -> bool:
        """Return whether a bound ended the trace: the controller's, or the node's (timeout(1) exits with 124)."""
        status = (self._seen.get("status") or [b""])[-1]
        return self._slow_s is not None or status == b"124" or (broken is not None and broken.code == "script-timeout")

    def _slow_start(self) -> HostError:
        waited_s = self._slow_s or self._startup_s
        doing = "compiling its program" if self._attached is None else "attaching its probes"
        return HostError(
            HostState.TIMEOUT,
            SLOW_START,
            f"bpftrace was still {doing} after {waited_s:.3g} s and nothing was counted: the node is too busy, or has "
            "too many binaries to trace at once. Trace it at a quieter time, or fewer of its instances "
            f"(`fleettrace_instances`){self._errors()}",
        )

    def _end(self, broken: HostError | None) -> TraceEnd:
        if self._printed_all:
            # Printed last: without them nobody knows what was missed.
            self._slicer.finish(self._parser.kept("misses"), self._parser.kept("bytes"))
        alive = set(self._plans)
        if "end" in self._seen:
            # A process without a report at the end is not counted as alive: its counts are partial.
            there = reported_processes(self._seen.get("process-after", []))
            alive = {pid for pid in self._plans if self._planned(pid, there.get(pid))}
        alive -= self._exchanged()
        return TraceEnd(
            whole=broken is None and self._slicer.whole,
            broken=broken is not None or not self._printed_all,
            window_s=self._slicer.window_s(self._parser.now_ns),
            summaries=self._slicer.summaries,
            alive=set(alive),
            implausible=self._slicer.implausible,
            undecided=self._slicer.undecided,
            start_ns=self._start_ns,
            looks=self._looks_by_pid(),
            overfull=self._slicer.overfull,
            tracer_cpu_s=self._tracer_cpu(),
            words=str(broken) if broken is not None else self._said().removeprefix(": "),
            refused=self._refused,
        )

    @property
    def _refused(self) -> dict[int, Failure]:
        found = refusals(self._seen.get("refused", []))
        return {pid: failure for pid, failure in found.items() if pid in self._plans}

    @property
    def _traced_sites(self) -> list[ProbeTarget]:
        """The sites that a detached trace did not leave out on its node."""
        refused = self._refused
        return [site for site in self._sites if not refused.keys() >= set(site.pids)]

    def _exchanged(self) -> set[int]:
        """The pids that ran another binary at the end than at the beginning (execve keeps pid and start time)."""
        before, after = (
            dict(_EXE.findall((self._seen.get(f"exe-{when}") or [b""])[-1])) for when in ("before", "after")
        )
        return {int(pid) for pid in after if pid in before and after[pid] != before[pid]}

    def _gone(self) -> frozenset[int]:
        """Return the pids that the node has shown to be not, or no longer, the processes that the plan was made for.

        A script that ended before it reported on a process shows nothing about it.
        """
        there = reported_processes(self._seen.get("process-after" if "end" in self._seen else "process-before", []))
        return frozenset(pid for pid, found in there.items() if pid in self._plans and not self._planned(pid, found))

    def _planned(self, pid: int, found: TracedProcess | None) -> bool:
        return found == TracedProcess(self._plans[pid][0].start)

    def _looks_by_pid(self) -> dict[int, list[Sample]]:
        clocks = re.fullmatch(rb"(\d{1,15})\.(\d\d) (\d{1,19})", (self._seen.get("clocks") or [b""])[-1])
        offset = int(clocks[1] + clocks[2]) * 10_000_000 - int(clocks[3]) if clocks else 0
        looks = by_process([*self._early_looks, *self._looks.looks])
        lag = offset if abs(offset) > _SAME_CLOCK_NS else 0
        return {pid: in_order(looks.get(pid, ()), pid, lag) for pid in self._plans}

    def _tracer_cpu(self) -> float | None:
        """The CPU seconds of bpftrace and what started it; None where the trace did not come to its end."""
        before, after = (children_s((self._seen.get(f"shell-{when}") or [b""])[-1]) for when in ("before", "after"))
        return None if before is None or after is None else after - before

    def _by_pid(self, line: bytes) -> bytes:
        """Name a binary by its process, where the line names it by the process that holds it open (binding.sh)."""
        for held in self._seen.get("held", []):
            pid, _, holder = held.partition(b" ")
            if pid.isdigit() and holder.isdigit() and len(held) < 24:
                line = line.replace(b"/proc/%b/fd/5" % holder, b"/proc/%b/exe" % pid)
        return line

    def _said(self) -> str:
        """Return why bpftrace failed in its own words, for an error message; without any, its status and what to do."""
        status = (self._seen.get("status") or [b""])[-1].decode("ascii", "replace")
        silent = f": {no_error(status, self._bpftrace)}" if status not in ("", "0") else ""
        return self._errors() or silent

    def _errors(self) -> str:
        lines = [self._by_pid(line) for line in (*bytes(self._words).splitlines(), *self._noise)]
        messages = complaints(lines)
        return ": " + " / ".join(messages)[:600] if messages else ""
