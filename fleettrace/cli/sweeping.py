"""What `run`, `check` and `demo` share: a sweep with its signals, its progress, its report and its exit code."""

from __future__ import annotations

import argparse
import re
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from fleettrace import __version__
from fleettrace.cli.exit_code import exit_code
from fleettrace.cli.keeping import keep_run
from fleettrace.cli.known_probes import KnownProbes, default_path
from fleettrace.cli.live.fleet import BUCKETS
from fleettrace.cli.progress import progress
from fleettrace.cli.redaction import Redaction
from fleettrace.cli.wishes import probe_options, run_options
from fleettrace.node.binaries import BinaryCatalog, default_cache_dir
from fleettrace.summary.run import RunInfo, RunResult, Warn
from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.detach_model import Detach
from fleettrace.sweep.engine import Sweep
from fleettrace.sweep.event_log import EventLog
from fleettrace.sweep.events import Listener, ignore, together
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.text_format import color_allowed

__all__ = ["Write", "color_wanted", "sweep_and_report"]

_SIGNALS = {
    signal.SIGINT: Reason.INTERRUPTED,
    signal.SIGTERM: Reason.TERMINATED,
    signal.SIGHUP: Reason.TERMINATED,
    signal.SIGUSR1: Reason.ENOUGH,
}
_AS_THEY_ARE = Redaction()

Write = Callable[[RunResult, Sequence[re.Pattern[bytes]]], None]
"""Writes the report of a run, in which the patterns are families of the user's own."""


def sweep_and_report(
    arguments: argparse.Namespace,
    tasks: Sequence[HostTask],
    *,
    pattern: str,
    trace: bool = True,
    write: Write,
    redaction: Redaction = _AS_THEY_ARE,
    warnings: Sequence[Warn] = (),
    listener: Listener = ignore,
    display: Listener | None = None,
    info: RunInfo | None = None,
    detach: Detach | None = None,
) -> int:
    """Sweep the hosts, write the report, and give the exit code. `listener` hears of it beside the progress, `display`
    in its place. With `info` the sweep is a part of that run, else a run of its own."""
    whole = info is None
    if info is None:
        info = RunInfo(
            _run_id(), datetime.now(UTC), pattern, arguments.duration, __version__, options=run_options(arguments)
        )
    shown = display
    if shown is None:
        shown = progress(quiet=arguments.quiet, verbose=arguments.verbose, color=color_wanted(arguments))
    known = KnownProbes(default_path())
    with ExitStack() as stack:
        log = None if arguments.log is None else stack.enter_context(EventLog(Path(arguments.log)))
        heard = together(shown, ignore if log is None else log, listener, known)
        sweep = Sweep(
            tasks,
            _settings(arguments, trace, detach),
            info,
            BinaryCatalog(default_cache_dir()),
            heard,
            slices=display is not None or log is not None,
        )
        with _stopped_by_signals(sweep):
            result = sweep.run()
    known.save()
    result.warnings.extend(warnings)
    if log is not None and log.failed is not None:
        result.warnings.append(Warn("log-incomplete", log.failed))
    seen, patterns = redaction.apply(result)
    try:
        write(seen, patterns)
    finally:
        if trace and whole:
            keep_run(arguments, seen, patterns, redaction)
    return exit_code(result, sweep.stop.reason, arguments.min_ok, traced=trace)


def color_wanted(arguments: argparse.Namespace) -> bool:
    """Return whether the terminal may be colored."""
    return color_allowed(disabled=arguments.no_color)


def _run_id() -> str:
    """Sorts by time, and tells two runs of the same second apart."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"


def _settings(arguments: argparse.Namespace, trace: bool, detach: Detach | None) -> SweepSettings:
    return SweepSettings(
        duration_s=arguments.duration,
        forks=arguments.forks,
        serial=arguments.serial or (),
        max_fail=arguments.max_fail,
        retries=arguments.retries,
        wish=probe_options(arguments),
        trace=trace,
        max_cost=arguments.max_cost,
        allow_preemptible=arguments.allow_preemptible,
        deadline_s=arguments.deadline,
        # At most 60 buckets in a timeline, so that a long window does not make every key's timeline long.
        bucket_s=max(1.0, arguments.duration / BUCKETS),
        detach=detach,
    )


@contextmanager
def _stopped_by_signals(sweep: Sweep) -> Iterator[None]:
    """While the sweep runs, the signals that end it let it report what it has; the second one is in more of a hurry."""

    def handle(number: int, _frame: FrameType | None) -> None:
        sweep.order_stop(_SIGNALS[signal.Signals(number)])

    before = {number: signal.signal(number, handle) for number in _SIGNALS if _listens(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listens(number: signal.Signals) -> bool:
    """Whether the signal reaches us at all: nohup(1) wants SIGHUP to go on being ignored."""
    return signal.getsignal(number) is not signal.SIG_IGN
