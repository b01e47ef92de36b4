"""Run the trace of one host, and turn its output into summaries as it arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex

from fleettrace.errors import HostError, HostState
from fleettrace.node.binding import RefusedError
from fleettrace.node.client_counts import ClientCounts
from fleettrace.node.model import Instance
from fleettrace.node.output import Attached, Event, OutputParser, RawSlice, Started, UnparsedLine
from fleettrace.node.plausible import ENDING_S, STARTUP_S, ImplausibleError, OutputBounds, implausible
from fleettrace.node.records import Record, RecordReader
from fleettrace.node.samples import Sample, SampleReader
from fleettrace.node.slicing import Slicer
from fleettrace.node.stderr_lines import complaints, no_error
from fleettrace.node.trace_end import (
    NOT_ATTACHED,
    OVERWRITTEN,
    SLOW_START,
    UNSTOPPABLE,
    AttachError,
    ProgramRefusedError,
    TraceEnd,
)
from fleettrace.node.trace_records import TraceRecords
from fleettrace.node.trace_script import TraceScript, probe_targets
from fleettrace.node.verifier import logged, refused, verifier_reason
from fleettrace.probes.model import KeyLayout, ProbePlan, TraceSettings
from fleettrace.probes.program import uprobe_count
from fleettrace.summary.counts import Summary
from fleettrace.transport.interface import Chunk, Execution, Limits, Stream

__all__ = ["HostTrace"]

_STDERR_BYTES = 8192
"""Bytes that are stored of the beginning, and of the end, of standard error."""
_MOST_LINES = 20


class HostTrace:
    """One trace: its script, and the state of reading its output. Calls `on_start` and `on_slice` meanwhile.

    `nonce` is set for a script that already runs on the node, with its own bounds. `samples` were taken before the
    trace. `TraceScript` describes the other arguments.
    """

    def __init__(
        self,
        bpftrace: Sequence[str],
        plans: Sequence[tuple[Instance, ProbePlan]],
        layout: KeyLayout,
        settings: TraceSettings,
        *,
        bucket_s: float = 1.0,
        endpoints: str = "",
        samples: Sequence[Sample] = (),
        begin_ns: int | None = None,
        lead_s: float = 0.0,
        startup_s: float = STARTUP_S,
        nonce: str | None = None,
        run: str = "",
        on_start: Callable[[], None] = lambda: None,
        on_slice: Callable[[Mapping[int, Summary]], None] | None = None,
    ) -> None:
        self._starts_here = nonce is None
        self._script = TraceScript(
            bpftrace, plans, layout, settings, nonce or token_hex(4), endpoints, begin_ns, lead_s, startup_s, run
        )
        self._pids = {instance.pid for instance, _ in plans}
        self._early_samples = samples
        self._on_start = on_start
        self._on_slice = on_slice
        self._reader = RecordReader()
        self._records = TraceRecords({instance.pid: instance for instance, _ in plans})
        self._samples = SampleReader()
        self._start_ns = 0
        self._slow_s: float | None = None
        """Seconds after which the controller stopped a trace that had not begun to count."""
        scripted = any(plan.script is not None for _, plan in plans)
        self._bounds = OutputBounds.of(len(plans), settings, script=scripted)
        self._parser = OutputParser(layout.piece, layout.pieces, self.nonce, self._bounds)
        self._slicer = Slicer({instance.pid: plan for instance, plan in plans}, settings, bucket_s)
        self._attached: int | None = None
        self._stderr = bytearray()
        self._stderr_end = b""
        self._unparsed: list[bytes] = []

    @property
    def program(self) -> str:
        """The bpftrace program's text."""
        return self._script.program

    @property
    def nonce(self) -> str:
        """The secret that marks the program's own output."""
        return self._script.nonce

    @property
    def limits(self) -> Limits:
        """The bounds on the controller's side, a little wider than those on the node."""
        return Limits(seconds=self._script.seconds + 30, max_bytes=self._bounds.max_bytes)

    def script(self) -> bytes:
        """Return the script for the node."""
        return self._script.text()

    def read(self, execution: Execution) -> TraceEnd:
        """Read the trace to its end. Raises `HostError` if nothing was traced, and for impossible data.

        A connection that breaks later is reported in the result.
        """
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
                    execution.end_within(self._script.settings.duration_s + ENDING_S)
                elif not self._slicer.started:
                    self._watch_startup(execution, time.monotonic() - began)
        except HostError as error:
            broken = error
        finally:
            execution.close()
        self._events(self._parser.finish(complete=self._printed_all))
        self._check(broken)
        return self._end(broken)

    def _watch_startup(self, execution: Execution, waited_s: float) -> None:
        """Stop a trace that does not begin to count in time.

        This is called for every sample, about once a second. If a node prints nothing at all, the bounds of the script
        apply.
        """
        if self._starts_here and self._slow_s is None and waited_s > self._script.lead_s + self._script.startup_s:
            self._slow_s = waited_s
            execution.stop()
            execution.end_within(ENDING_S)

    @property
    def _printed_all(self) -> bool:
        """bpftrace exited and had printed everything.

        After an interrupt it prints the remaining maps, but not always if the interrupt comes while it writes.
        """
        return self._records.exited and self._parser.complete and not self._slicer.garbled

    def _take(self, chunk: Chunk) -> None:
        if chunk.stream is Stream.ERR:
            text = self._samples.feed(chunk.data)
            if len(self._stderr) < _STDERR_BYTES:
                self._stderr += text
            else:
                # A verifier's log may be long, and the reason is at its end.
                self._stderr_end = (self._stderr_end + text)[-_STDERR_BYTES:]
            return
        for item in self._reader.feed(chunk.data):
            if isinstance(item, Record):
                self._records.add(item)
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
                    if len(self._unparsed) < _MOST_LINES:
                        self._unparsed.append(line)

    def _check_attached(self) -> None:
        """Raise `AttachError` if bpftrace left out a probe, which it does without a message up to 0.20."""
        left_out = self._records.refused.keys()
        targets = [target for target in probe_targets(self._script.plans) if not left_out >= set(target.pids)]
        expected = uprobe_count(targets)
        if expected is not None and self._attached is not None and self._attached != expected:
            message = f"bpftrace attached {self._attached} probes instead of {expected}{self._reason()}"
            raise AttachError(NOT_ATTACHED[1], message, self._records.gone)

    def _check(self, broken: HostError | None) -> None:
        """Raise `HostError` if nothing was traced."""
        if (refusals := self._records.refused) and ("trace" not in self._records or refusals.keys() >= self._pids):
            raise RefusedError(refusals)
        self._check_attached()
        if self._slicer.slices:
            return
        if not self._slicer.started and self._out_of_time(broken):
            raise self._slow_start()
        if broken is not None:
            raise broken
        if self._slicer.started:
            raise HostError(
                HostState.TRACE_FAILED, "no-slice", f"bpftrace ended before its first slice{self._reason()}"
            )
        if UNSTOPPABLE.encode() in self._stderr:
            raise HostError(HostState.TRACE_FAILED, UNSTOPPABLE, f"nothing was traced{self._reason()}")
        if OVERWRITTEN.encode() in self._stderr:
            raise HostError(HostState.TRACE_FAILED, OVERWRITTEN, f"its trace was ended{self._reason()}")
        log = b"\n".join((self._stderr, self._stderr_end, *self._unparsed))
        if refused(log):
            reason = (verifier_reason(log) or "bpftrace printed no reason").encode()
            raise ProgramRefusedError(self._records.named_by_pid(reason).decode(), logged=logged(log))
        raise AttachError(NOT_ATTACHED[0], f"bpftrace did not start to trace{self._reason()}", self._records.gone)

    def _out_of_time(self, broken: HostError | None) -> bool:
        """Return whether a bound ended the trace: the controller's, or the node's (timeout(1) exits with 124)."""
        expired = broken is not None and broken.code == "script-timeout"
        return self._slow_s is not None or self._records.status == "124" or expired

    def _slow_start(self) -> HostError:
        waited_s = self._slow_s or self._script.startup_s
        doing = "compiling its program" if self._attached is None else "attaching its probes"
        return HostError(
            HostState.TIMEOUT,
            SLOW_START,
            f"bpftrace was still {doing} after {waited_s:.3g} s and nothing was counted: the node is too busy, or has "
            "too many binaries to trace at once. Trace it at a quieter time, or fewer of its instances "
            f"(`fleettrace_instances`){self._messages()}",
        )

    def _end(self, broken: HostError | None) -> TraceEnd:
        if self._printed_all:
            # The program prints these last: without them the misses and sizes are unknown.
            self._slicer.finish(self._parser.window_entries("misses"), self._parser.window_entries("bytes"))
        return TraceEnd(
            complete=broken is None and self._slicer.complete,
            broken=broken is not None or not self._printed_all,
            window_s=self._slicer.window_s(self._parser.now_ns),
            summaries=self._slicer.summaries,
            alive=self._records.alive,
            implausible=self._slicer.implausible,
            undecided=self._slicer.undecided,
            start_ns=self._start_ns,
            samples=self._records.by_pid([*self._early_samples, *self._samples.samples]),
            classes=self._samples.classes,
            overfull=self._slicer.overfull,
            tracer_cpu_s=self._records.tracer_cpu_s,
            error_text=str(broken) if broken is not None else self._reason().removeprefix(": "),
            refused=self._records.refused,
            client_counts=self._client_counts(),
        )

    def _client_counts(self) -> ClientCounts | None:
        """Return the counts by client, which the program prints at its end."""
        if not self._printed_all:
            return None
        return ClientCounts(
            self._parser.by_client, self._parser.window_entries("pairs"), self._parser.window_entries("peers")
        )

    def _reason(self) -> str:
        """Return bpftrace's messages for an error text; without any, its exit status and what to do."""
        status = self._records.status
        silent = f": {no_error(status, self._script.bpftrace)}" if status not in ("", "0") else ""
        return self._messages() or silent

    def _messages(self) -> str:
        lines = [self._records.named_by_pid(line) for line in (*bytes(self._stderr).splitlines(), *self._unparsed)]
        messages = complaints(lines)
        return ": " + " / ".join(messages)[:600] if messages else ""
