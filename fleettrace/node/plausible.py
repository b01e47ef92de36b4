"""Bounds on what a node can truthfully send: amounts, numbers and times.

Data from a node may be false, because of the node itself, a container or a client. The parsers of this package share
these bounds. A value beyond one raises `ImplausibleError`, which costs that host its result and no other host anything.
No bound depends on data that an unprivileged client alone can send: a client cannot exclude a host from the report.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fleettrace.errors import HostError, HostState
from fleettrace.probes.model import TraceSettings

__all__ = [
    "ENDING_S",
    "IMPLAUSIBLE",
    "LATE_S",
    "MAX_CPUS",
    "MAX_INSTANCES",
    "MAX_INTEGER",
    "MAX_PID",
    "MAX_RATE",
    "STARTUP_S",
    "ImplausibleError",
    "OutputBounds",
    "implausible",
    "integer",
]

IMPLAUSIBLE = "implausible-output"
"""The error code of a host that sent impossible values."""
MAX_INTEGER = (1 << 63) - 1
"""The largest number that is stored anywhere (SQLite's INTEGER)."""
MAX_RATE = 100_000_000
"""Requests a second of one host. memcached's authors measured some 50 million on 48 cores without a probe. A probed
request costs at least 1 us of CPU."""
MAX_INSTANCES = 4096
"""memcached processes on one host."""
MAX_PID = 1 << 22
"""PID_MAX_LIMIT (include/linux/threads.h)."""
MAX_CPUS = 8192
"""NR_CPUS of the largest kernel configuration (arch/x86/Kconfig, MAXSMP)."""
STARTUP_S = 180.0
"""Seconds for bpftrace to compile its program and attach its probes before the window; measured: 0.6 to 8, 75 on a busy
node, 100 in an emulated aarch64 machine."""
ENDING_S = 30.0
"""Seconds for bpftrace to detach and print after the window; the trace of a host that needs longer has failed."""
LATE_S = 240.0
"""Seconds after the window's end in which a slice can end. By then the node kills a bpftrace that started at once: its
bound includes the unused time for starting, and the time for ending (trace_script.py)."""

_MAPS = 9
"""The maps of keys: @a, @b, @c and @d, @m and @v, and @i, @o and @q. A stopped bpftrace prints all of them without a
limit."""
_ENTRY_BYTES = 400
"""Bytes of a printed entry: a key of 250, its numbers and the map's name."""
_LEAST_OUTPUT = 32 << 20
_MOST_OUTPUT = 1 << 28


class ImplausibleError(ValueError):
    """The node sent an impossible value. The text names it, as the end of a sentence."""


def implausible(error: ImplausibleError) -> HostError:
    """Return the error of a host that sent an impossible value."""
    return HostError(
        HostState.TRACE_FAILED,
        IMPLAUSIBLE,
        f"the node sent impossible data, so its result is discarded: {error}; check who controls that node",
    )


def integer(digits: bytes, most: int, what: str) -> int:
    """Return `digits` as a number. Raises `ImplausibleError` above `most`, `ValueError` for other bytes."""
    if not digits.isdigit():
        raise ValueError(f"{what} is {digits[:40]!r} and not a number")
    # The length is compared first, because converting thousands of digits takes quadratic time.
    if len(digits.lstrip(b"0")) > len(str(most)) or (number := int(digits)) > most:
        raise ImplausibleError(f"{what} of {digits[:24].decode()}{'...' if len(digits) > 24 else ''}")
    return number


@dataclass(frozen=True, slots=True)
class OutputBounds:
    """The most that the program of one trace can print."""

    totals: int = MAX_PID
    """Processes in one slice."""
    printed: int = 2000
    """Entries that are stored of one map. More would not improve the bounds of a summary."""
    entries: int = 1 << 17
    """Entries that one map of the kernel holds."""
    slices: int = 1 << 20
    window_entries: int = 20000
    """Entries that are stored of a map of the complete window."""

    @classmethod
    def of(cls, pids: int, settings: TraceSettings, *, script: bool) -> OutputBounds:
        """Return the bounds of a trace of `pids` processes, by a fleettrace program or by a user's own (`script`)."""
        slices = 2 if script else math.ceil((settings.duration_s + LATE_S) * 1000 / settings.slice_ms) + 4
        printed = max(1, settings.printed_once if script else settings.printed)
        return cls(pids, printed, max(settings.entries, settings.printed_once), slices, max(1, settings.printed_once))

    @property
    def max_entries(self) -> int:
        """The most entries that the program can print.

        These are the largest ones of two maps for each slice and of five for the window, and all entries of every map
        when it is stopped.
        """
        return 2 * self.printed * self.slices + 5 * self.window_entries + 2 * _MAPS * self.entries

    @property
    def max_bytes(self) -> int:
        """The most bytes that the program can print, with room for bpftrace's own messages."""
        return min(_MOST_OUTPUT, max(_LEAST_OUTPUT, self.max_entries * _ENTRY_BYTES))
