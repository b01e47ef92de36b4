"""The errors a user can meet, each with a message that says what is wrong and what to do.

`cli/main.py` is the one place that turns them into a line on stderr and an exit code; everything else raises.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

__all__ = ["BusyError", "ConfigError", "FleettraceError", "HostError", "HostState", "write_error"]


class FleettraceError(Exception):
    """An error with a message fit for a user. Its text is one line."""


class ConfigError(FleettraceError):
    """Usage or configuration is wrong (exit code 2).

    `file` and `line` (1-based) say where, when there is a where; they lead the message as `file:line: `.
    """

    def __init__(self, message: str, *, file: str | Path | None = None, line: int | None = None) -> None:
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        where = "" if self.file is None else f"{self.file}:{line}: " if line is not None else f"{self.file}: "
        super().__init__(f"{where}{message}")


def write_error(path: str | Path, error: OSError) -> ConfigError:
    """Return the error for a file that could not be written."""
    return ConfigError(f"cannot write {path}: {error.strerror}")


class BusyError(FleettraceError):
    """Another run does what this one was to do (exit code 75)."""


class HostState(StrEnum):
    """What became of one host in a sweep (the report's contract names these)."""

    OK = "ok"
    PARTIAL = "partial"
    NO_INSTANCES = "no-instances"
    UNREACHABLE = "unreachable"
    AUTH_FAILED = "auth-failed"
    HOST_KEY = "host-key"
    BECOME_FAILED = "become-failed"
    NO_BPFTRACE = "no-bpftrace"
    UNSUPPORTED = "unsupported"
    TRACE_FAILED = "trace-failed"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"

    @property
    def complete(self) -> bool:
        """Whether none of the host's traffic in the window is missing."""
        return self in (HostState.OK, HostState.NO_INSTANCES)


class HostError(FleettraceError):
    """One host failed. `state` is its place in the report, `code` a stable word for scripts, the text what to do."""

    def __init__(self, state: HostState, code: str, message: str) -> None:
        self.state = state
        self.code = code
        self.message = message
        super().__init__(message)
