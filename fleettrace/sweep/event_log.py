"""`--log FILE`: write every event of a run as a line of JSON, so that an unattended run can be examined later.

Each line is appended with one write: runs that share the file do not cut each other's lines, and it may be rotated
between two runs. No key, no value and no secret is in it, so it may be stored with redacted reports.
An exception that is a fault of fleettrace is logged with its traceback, which shows the text of the exception.
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
    WindowsStarted,
)
from fleettrace.text_format import rfc3339

__all__ = ["EventLog", "fields_of"]


class EventLog:
    """A subscriber that writes the log. When the file cannot be written any more, the sweep goes on: see `failed`."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open the file, or create it. Raises `ConfigError`."""
        self._path = path
        self._now = now
        self._run = ""
        self.failed: str | None = None
        """Why the log is not complete, None while it is."""
        try:
            self._file = path.open("ab+", buffering=0)
            self._end_last_line()
        except OSError as error:
            raise ConfigError(f"cannot write the log {path}: {error.strerror}") from None

    def _end_last_line(self) -> None:
        """End the last line, where a full disk cut it off."""
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
            complete = self._file.write(line) == len(line)
        except OSError as error:
            self.failed = f"the log {self._path} is not complete: {error.strerror}"
        else:
            self.failed = None if complete else f"the log {self._path} is not complete: is its disk full?"

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def fields_of(event: Event) -> tuple[str, Mapping[str, object]]:
    """Return the name of an event in the log, as `subject.verb`, and its other fields."""
    match event:
        case RunStarted(_, hosts, duration_s):
            return "run.started", {"hosts": hosts, "duration_s": duration_s}
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
        case WindowsStarted(hosts, spread_s, accuracy_s, skew_s):
            seconds = {"spread_s": round(spread_s, 3), "within_s": round(accuracy_s, 3), "skew_s": round(skew_s, 3)}
            return "run.window", {"hosts": hosts, **seconds}
        case HostsSkipped(wave, hosts, reason):
            return "wave.failed", {"wave": wave, "skipped": hosts, "reason": reason}
        case _:
            return _host_fields(event)


def _host_fields(event: Event) -> tuple[str, Mapping[str, object]]:
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
            identity = {"host": host, "pid": result.pid, "state": result.state.value, "kind": result.probe.probe_kind}
            counted = {"requests": result.requests, "absent": result.absent, "window_s": window}
            return _ended("instance", result.state), identity | counted | _error(result.error)
        case SliceArrived(host, slices):
            keys = sum(len(summary.keys) for summary in slices.values())
            requests = sum(summary.total for summary in slices.values())
            return "slice.finished", {"host": host, "instances": len(slices), "requests": requests, "keys": keys}
    raise AssertionError(f"no log entry for {event!r}")


def _ended(subject: str, state: HostState) -> str:
    return f"{subject}.finished" if state.complete else f"{subject}.failed"


def _error(failure: Failure | None) -> dict[str, object]:
    return {} if failure is None else {"code": failure.code, "message": failure.message}
