"""`--log FILE`: every event of a run as a line of JSON, for who looks later at a run that nobody watched.

The file is appended to, with one write a line: runs that share it do not cut each other's lines, and it may be rotated
between two runs. No key, no value and no secret is in it, so it may be kept where redacted reports are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from fleettrace.errors import ConfigError, HostState
from fleettrace.summary.run import Failure
from fleettrace.sweep.events import (
    Event,
    HostFinished,
    HostProgressed,
    HostRetried,
    HostsSkipped,
    HostStarted,
    InstanceFinished,
    InstanceStarted,
    RunFinished,
    RunStarted,
    SliceArrived,
    StopRequested,
    WaveFinished,
    WaveStarted,
    WindowsBegan,
)
from fleettrace.text_format import rfc3339

__all__ = ["EventLog", "fields_of"]


class EventLog:
    """A listener that writes. A file that cannot be written any more costs the sweep nothing: see `failed`."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open the file, or make it. Raises `ConfigError`."""
        self._path = path
        self._now = now
        self._run = ""
        self.failed: str | None = None
        """Why nothing more was written, None while all was."""
        try:
            self._file = path.open("ab+", buffering=0)
            self._end_a_cut_line()
        except OSError as error:
            raise ConfigError(f"cannot write the log {path}: {error.strerror}") from None

    def _end_a_cut_line(self) -> None:
        """Where a full disk cut a line off, the next one is still a line of its own."""
        if self._file.seekable() and self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run = event.run
        if self.failed is not None:
            return
        name, fields = fields_of(event)
        time = rfc3339(self._now())
        line = json.dumps({"time": time, "run": self._run, "event": name, **fields}).encode("ascii") + b"\n"
        try:
            whole = self._file.write(line) == len(line)
        except OSError as error:
            self.failed = f"the log {self._path} is not complete: {error.strerror}"
        else:
            self.failed = None if whole else f"the log {self._path} is not complete: is its disk full?"

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def fields_of(event: Event) -> tuple[str, Mapping[str, object]]:
    """An event's name in the log (what it is about, and what happened to that) and what is said of it."""
    match event:
        case RunStarted(_, hosts, seconds):
            return "run.started", {"hosts": hosts, "duration_s": seconds}
        case StopRequested(reason):
            return "run.stopping", {"reason": str(reason)}
        case RunFinished(result):
            states: dict[str, int] = {}
            for host in result.hosts:
                states[host.state.value] = states.get(host.state.value, 0) + 1
            return "run.finished", {"hosts": states, "requests": result.fleet.total}
        case WaveStarted(wave, waves, hosts):
            return "wave.started", {"wave": wave, "waves": waves, "hosts": hosts}
        case WaveFinished(wave, waves, failed):
            return "wave.finished", {"wave": wave, "waves": waves, "failed": failed}
        case WindowsBegan(hosts, spread_s, within_s, skew_s):
            apart = {"spread_s": round(spread_s, 3), "within_s": round(within_s, 3), "skew_s": round(skew_s, 3)}
            return "run.window", {"hosts": hosts, **apart}
        case HostsSkipped(wave, hosts, reason):
            return "wave.failed", {"wave": wave, "skipped": hosts, "reason": reason}
        case _:
            return _of_a_host(event)


def _of_a_host(event: Event) -> tuple[str, Mapping[str, object]]:
    match event:
        case HostStarted(host):
            return "host.started", {"host": host}
        case HostProgressed(host, phase):
            return "host.progressed", {"host": host, "phase": phase.value}
        case HostRetried(host, attempt, failure, pause_s):
            fields = {"host": host, "attempt": attempt, "pause_s": round(pause_s, 3)}
            return "host.retried", fields | _error(failure)
        case HostFinished(host, state, result):
            fields = {"host": host, "state": state.value, "requests": result.requests}
            fields |= {"traceback": event.traceback} if event.traceback else {}
            return _ended("host", state), fields | _error(result.error)
        case InstanceStarted(host, pid):
            return "instance.started", {"host": host, "pid": pid}
        case InstanceFinished(host, result):
            window = None if result.window_s is None else round(result.window_s, 3)
            about = {"host": host, "pid": result.pid, "state": result.state.value, "kind": result.probe.probe_kind}
            counted = {"requests": result.requests, "absent": result.absent, "window_s": window}
            return _ended("instance", result.state), about | counted | _error(result.error)
        case SliceArrived(host, slices):
            keys = sum(len(summary.keys) for summary in slices.values())
            requests = sum(summary.total for summary in slices.values())
            return "slice.finished", {"host": host, "instances": len(slices), "requests": requests, "keys": keys}
    raise AssertionError(f"no words for {event!r}")


def _ended(what: str, state: HostState) -> str:
    return f"{what}.finished" if state.complete else f"{what}.failed"


def _error(failure: Failure | None) -> dict[str, object]:
    return {} if failure is None else {"code": failure.code, "message": failure.message}
