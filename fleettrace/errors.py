"""The errors that a user can meet; each message names what failed and what to do about it.

`cli/main.py` is the one place that turns them into a line on stderr and an exit code; every other module raises them.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from pathlib import Path

__all__ = ["BusyError", "ConfigError", "FailureCatalogue", "FleettraceError", "HostError", "HostState", "write_error"]


class FleettraceError(Exception):
    """An error with a message for the user, in one line."""


class ConfigError(FleettraceError):
    """Usage or configuration is wrong (exit code 2).

    `file` and `line` (1-based), where they are known, lead the message as `file:line: `.
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
    """Another run holds the lock (exit code 75).

    `repeated`: this is not the first one to find it held by that run, and `silent`: so cron need not mail it again.
    """

    def __init__(self, message: str, *, repeated: bool = False, silent: bool = False) -> None:
        super().__init__(message)
        self.repeated, self.silent = repeated, silent


class HostState(StrEnum):
    """The result of one host in a sweep, as the report names it."""

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
    """One host failed.

    `state` is the host's state in the report, `code` a stable word for scripts, and the message names what failed and
    what to do. It leaves out the host's name, so that the same failure of many hosts is reported once.
    """

    def __init__(self, state: HostState, code: str, message: str) -> None:
        self.state = state
        self.code = code
        self.message = message
        super().__init__(message)


class FailureCatalogue(Enum):
    """A catalogue of ways in which a host fails. Each member is one entry of the reference of error codes:

    NAME = (code, state, meaning, cure)
    """

    def __init__(self, code: str, state: HostState, meaning: str, cure: str) -> None:
        self.code = code
        self.state = state
        self.meaning = meaning
        """What failed: a clause that holds for each host with this code."""
        self.cure = cure
        """What to do about it, or what to check."""

    def error(self, what: str = "", cure: str = "") -> HostError:
        """Return the error of one host: `what` failed there and its `cure`, by default the entry's own texts."""
        return HostError(self.state, self.code, f"{what or self.meaning}: {cure or self.cure}")
