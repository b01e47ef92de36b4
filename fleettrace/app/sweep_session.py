"""One sweep from options and tasks to a result: signals, event log, report, history."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from types import FrameType
from typing import TYPE_CHECKING

from fleettrace import __version__
from fleettrace.app.history import store_run
from fleettrace.app.known_probes import KnownProbes, default_path
from fleettrace.app.options import RunOptions, identity, probe_options
from fleettrace.app.redaction import Redaction
from fleettrace.app.site import Site
from fleettrace.node.binaries import BinaryCatalog, default_cache_dir
from fleettrace.summary.run import RunInfo, RunResult, Warn
from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.engine import Sweep
from fleettrace.sweep.event_log import EventLog
from fleettrace.sweep.events import Subscriber, broadcast, ignore
from fleettrace.sweep.settings import MOST_CLIENTS, TIMELINE_BUCKETS, HostTask, SweepSettings

if TYPE_CHECKING:
    from fleettrace.sweep.detach_model import Detach

__all__ = ["Resumed", "Running", "Write", "stopped_by_signals", "sweep"]

_SIGNALS = {
    signal.SIGINT: Reason.INTERRUPTED,
    signal.SIGTERM: Reason.TERMINATED,
    signal.SIGHUP: Reason.TERMINATED,
    signal.SIGUSR1: Reason.ENOUGH,
}

Write = Callable[[RunResult, Sequence[re.Pattern[bytes]]], None]
"""Writes the report of a run; the patterns are the user's families of keys."""
Running = Callable[[Sweep], AbstractContextManager[None]]
"""Is entered while a sweep runs, to cancel it when the user asks for that."""


@contextmanager
def stopped_by_signals(engine: Sweep) -> Iterator[None]:
    """End the sweep early on a signal: it reports what it has. A second signal gives up waiting for the traces."""

    def handle(number: int, _frame: FrameType | None) -> None:
        engine.cancel(_SIGNALS[signal.Signals(number)])

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS if not _ignored(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignored(number: signal.Signals) -> bool:
    """Whether the signal is ignored and must stay so, as nohup(1) arranges for SIGHUP."""
    return signal.getsignal(number) is signal.SIG_IGN


@dataclass(frozen=True, slots=True)
class Resumed:
    """The run that a sweep completes."""

    info: RunInfo
    hosts: Sequence[str]
    """All hosts of the run, in its order."""
    write: Write
    """Writes the report of the completed run."""


def sweep(
    options: RunOptions,
    tasks: Sequence[HostTask],
    site: Site,
    *,
    trace: bool = True,
    write: Write,
    redact: Redaction,
    warnings: Callable[[], Sequence[Warn]] = tuple,
    subscriber: Subscriber = ignore,
    warn: Callable[[str], None],
    live: bool = False,
    info: RunInfo | None = None,
    detach: Detach | None = None,
    not_stored: Callable[[str], None] | None = None,
    asked: Sequence[bytes] = (),
    running: Running = stopped_by_signals,
) -> RunResult:
    """Sweep the hosts, write the report, store the run, and return the result, redacted.

    With `info` the sweep is a part of that run, which is not stored; without `trace` it is a check. `live`: the
    subscriber receives the slices of the traces, too. `warnings` is called after the sweep; `running` is entered while
    it runs.
    """
    part = info is not None
    if info is None:
        started = datetime.now(UTC)
        info = RunInfo(
            _run_id(started),
            started,
            options.hosts,
            options.duration,
            __version__,
            options=identity(options),
        )
    known = KnownProbes(default_path())
    with ExitStack() as stack:
        log = None if options.log is None else stack.enter_context(EventLog(Path(options.log)))
        engine = Sweep(
            tasks,
            _settings(options, site, trace, detach, asked),
            info,
            BinaryCatalog(default_cache_dir()),
            broadcast(subscriber, ignore if log is None else log, known),
            slices=live or log is not None,
        )
        with running(engine):
            result = engine.run()
    known.save()
    result.warnings.extend(warnings())
    if log is not None and log.failed is not None:
        result.warnings.append(Warn("log-incomplete", log.failed))
    seen, patterns = redact.apply(result)
    seen = replace(seen, stopped=None if engine.cancellation.reason is None else engine.cancellation.reason.value)
    try:
        write(seen, patterns)
    finally:
        if trace and not part:
            store_run(options, seen, patterns, redact, warn, not_stored)
    return seen


def _run_id(started: datetime) -> str:
    """Return an id that sorts by time and differs between two runs of the same second."""
    return f"{started:%Y%m%dT%H%M%SZ}-{token_hex(3)}"


def _settings(
    options: RunOptions, site: Site, trace: bool, detach: Detach | None, asked: Sequence[bytes]
) -> SweepSettings:
    settings = SweepSettings(
        duration_s=options.duration,
        forks=site.forks,
        serial=options.serial or (),
        max_fail=site.max_fail,
        retries=options.retries,
        options=probe_options(options),
        trace=trace,
        max_cost=options.max_cost,
        allow_preemptible=options.allow_preemptible,
        deadline_s=options.deadline,
        # A long window gets longer buckets, not more of them.
        bucket_s=max(1.0, options.duration / TIMELINE_BUCKETS),
        detach=detach,
        ask=not options.no_ask,
        ask_get=options.ask == "get",
    )
    if not asked:
        return settings
    return replace(settings, options=replace(settings.options, asked=tuple(asked)), top_per_host=MOST_CLIENTS)
