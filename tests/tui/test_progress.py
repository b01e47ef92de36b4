"""Progress lines on stderr."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from fleettrace.errors import HostState
from fleettrace.summary.run import Failure, HostResult, RunInfo, RunResult
from fleettrace.sweep.events import (
    Event,
    HostFinished,
    HostProgressed,
    HostRetried,
    HostsSkipped,
    Phase,
    RunFinished,
    RunStarted,
    WaveStarted,
)
from fleettrace.tui.progress import progress

REFUSED = Failure("connection-refused", "connection refused on port 22\x1b[31m")
HOSTS = [HostResult(f"cache-{number}", HostState.UNREACHABLE, REFUSED) for number in (1, 2, 3)]
SKIPPED = HostResult("cache-4", HostState.SKIPPED, Failure("max-fail", "not begun"))


def printed(events: list[Event], *, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    subscriber = progress(quiet=False, verbose=verbose, color=False, stream=stream)
    for event in events:
        subscriber(event)
    return [line.removeprefix("fleettrace: ") for line in stream.getvalue().splitlines()]


def finished(host: HostResult) -> Event:
    return HostFinished(host.host, host.state, host)


def ended(*hosts: HostResult) -> Event:
    return RunFinished(RunResult(RunInfo("r", datetime.now(UTC), "all", 1.0, "0"), list(hosts)))


def test_plain_progress_names_failed_hosts() -> None:
    assert printed([RunStarted("r", 3, 10.0), WaveStarted(1, 1, 3), finished(HOSTS[0])]) == [
        "3 hosts, a window of 10 s",
        "cache-1: unreachable: connection refused on port 22\\x1b[31m",
    ]


def test_several_waves_and_skipped_hosts_are_reported() -> None:
    skipped = HostsSkipped(1, 1, "1 of 1 host of the first wave failed")
    events: list[Event] = [WaveStarted(1, 2, 1), skipped, finished(SKIPPED)]
    assert printed(events) == ["wave 1 of 2: 1 host", "1 host skipped: 1 of 1 host of the first wave failed"]


def test_verbose_reports_steps_and_retries() -> None:
    events: list[Event] = [
        HostProgressed("a", Phase.CONNECT),
        HostRetried("a", 1, Failure("kex-timeout", "too slow"), 1.25),
    ]
    assert printed(events) == []
    assert printed(events, verbose=True) == ["a: connect", "a: attempt 1 failed, the next one in 1.2 s: too slow"]


def test_a_traceback_is_shown_with_verbose_alone() -> None:
    event = HostFinished("a", HostState.TRACE_FAILED, HostResult("a", HostState.TRACE_FAILED), traceback="x\n\x1b y\n")
    assert printed([event]) == ["a: trace-failed: "]
    assert printed([event], verbose=True) == ["a: trace-failed: ", "a: x", "a: \\x1b y"]


def test_quiet_reports_each_failure_once() -> None:
    stream = io.StringIO()
    subscriber = progress(quiet=True, verbose=False, color=False, stream=stream)
    for event in (RunStarted("r", 1, 1.0), ended(HostResult("a", HostState.OK))):
        subscriber(event)
    assert stream.getvalue() == ""
    subscriber(ended(HostResult("a", HostState.OK), *HOSTS, SKIPPED))
    assert stream.getvalue().splitlines() == [
        "fleettrace: cache-[1-3]: unreachable: connection refused on port 22\\x1b[31m",
        "fleettrace: cache-4: skipped: not begun",
    ]


def test_only_quiet_reports_failures_at_the_end() -> None:
    stream = io.StringIO()
    progress(quiet=False, verbose=False, color=False, stream=stream)(ended(*HOSTS))
    assert stream.getvalue() == ""
