"""Progress of a sweep: a live line on a terminal, plain lines elsewhere, with `--quiet` only failures."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, TextIO

from fleettrace.errors import HostState
from fleettrace.report.escape import escape_text
from fleettrace.report.host_folding import fold
from fleettrace.sweep.events import (
    Event,
    HostFinished,
    HostProgressed,
    HostRetried,
    HostsSkipped,
    Phase,
    RunFinished,
    RunStarted,
    StopRequested,
    Subscriber,
    WaveStarted,
    WindowsStarted,
)
from fleettrace.text_format import plural

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["Subscriber", "progress"]

_STOPPING = "stopping: waiting for the results of the traces; once more to give up"


def progress(*, quiet: bool, verbose: bool, color: bool, stream: TextIO = sys.stderr) -> Subscriber:
    """Return the subscriber that prints to the stream what these options request."""
    if quiet:
        return _Failures(stream)
    if stream.isatty() and not verbose:
        return _Live(stream, color)
    return _Lines(stream, verbose)


class _Failures:
    """Nothing when all is well; at the end a line for each failure, folded over its hosts, which cron then mails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        if not isinstance(event, RunFinished):
            return
        hosts: dict[tuple[HostState, str], list[str]] = {}
        for host in event.result.incomplete_hosts:
            hosts.setdefault((host.state, host.error.message if host.error else ""), []).append(host.host)
        for (state, message), names in hosts.items():
            print(f"fleettrace: {escape_text(f'{fold(names)}: {state}: {message}')}", file=self._stream, flush=True)


class _Lines:
    """A line for the start, for each host that fails, and for the end; with `verbose` one for every step."""

    def __init__(self, stream: TextIO, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted(_, hosts, seconds):
                self._print(f"{plural(hosts, 'host')}, a window of {seconds:g} s")
            case WaveStarted(wave, waves, hosts) if waves > 1:
                self._print(f"wave {wave} of {waves}: {plural(hosts, 'host')}")
            case HostProgressed(host, phase) if self._verbose:
                self._print(f"{host}: {phase}")
            case HostRetried(host, attempt, failure, pause) if self._verbose:
                words = escape_text(failure.message)
                self._print(f"{host}: attempt {attempt} failed, the next one in {pause:.1f} s: {words}")
            case HostsSkipped(_, hosts, reason):
                self._print(f"{plural(hosts, 'host')} skipped: {reason}")
            case HostFinished(_, HostState.SKIPPED, _):
                # HostsSkipped reports them together: they may be thousands.
                pass
            case HostFinished(host, state, result):
                if not state.complete:
                    self._print(f"{host}: {state}: {escape_text(result.error.message) if result.error else ''}")
                    for line in event.traceback.splitlines() if self._verbose else ():
                        self._print(f"{host}: {escape_text(line)}")
                elif self._verbose:
                    self._print(f"{host}: {state}")
            case WindowsStarted(hosts, spread, within, skew) if self._verbose:
                apart = f"the windows of {hosts} hosts began within {spread:.3f} s of each other (to {within:.3f} s)"
                self._print(f"{apart}, their clocks within {skew:.3f} s of this one's")
            case StopRequested(reason):
                self._print(f"{reason}: {_STOPPING}")

    def _print(self, line: str) -> None:
        print(f"fleettrace: {line}", file=self._stream, flush=True)


class _Live:
    """One line that changes: how many hosts are at what."""

    def __init__(self, stream: TextIO, color: bool) -> None:
        self._stream = stream
        self._color = color
        self._phases: dict[str, Phase] = {}
        self._done: Counter[HostState] = Counter()
        self._hosts = 0
        self._wave = ""
        self._status: Status | None = None
        self._stopping = False

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted(_, hosts, _):
                from rich.console import Console

                self._hosts = hosts
                console = Console(file=self._stream, no_color=not self._color, highlight=False)
                self._status = console.status(self._line(), spinner="dots")
                self._status.start()
            case WaveStarted(wave, waves, _) if waves > 1:
                self._wave = f"wave {wave} of {waves}: "
            case HostProgressed(host, phase):
                self._phases[host] = phase
            case HostRetried(host):
                self._phases.pop(host, None)
            case HostFinished(host, state, _):
                self._phases.pop(host, None)
                self._done[state] += 1
            case StopRequested():
                self._stopping = True
            case RunFinished():
                if self._status is not None:
                    self._status.stop()
                    self._status = None
        if self._status is not None:
            self._status.update(self._line())

    def _line(self) -> str:
        busy = Counter(self._phases.values())
        parts = [f"{sum(self._done.values())}/{self._hosts} hosts done"]
        parts += [f"{busy[phase]} in {phase}" for phase in Phase if busy[phase]]
        failed = sum(number for state, number in self._done.items() if not state.complete)
        parts += [f"{failed} failed"] if failed else []
        return f"{'stopping: ' if self._stopping else ''}{self._wave}{', '.join(parts)}"
