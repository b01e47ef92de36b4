"""Bounds on what a node can truthfully send: amounts, numbers and times.

Whatever arrives from a node may be a lie, told by the node itself, by a container or by a client. The parsers of this
package share these bounds. A value beyond one raises `ImplausibleError`, which costs that host its result and costs no
other host anything. No bound depends on what an unprivileged client alone can send: a client cannot hide a host.
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
"""The code of a host that sent what cannot be true."""
MAX_INTEGER = (1 << 63) - 1
"""The largest number that is stored anywhere (SQLite's INTEGER)."""
MAX_RATE = 100_000_000
"""Requests a second of one host. memcached's authors measured some 50 million on 48 cores, without a probe; a probed
request costs 1 us of CPU and more."""
MAX_INSTANCES = 4096
"""memcached processes on one host."""
MAX_PID = 1 << 22
"""PID_MAX_LIMIT (include/linux/threads.h)."""
MAX_CPUS = 8192
"""NR_CPUS of the largest kernel configuration (arch/x86/Kconfig, MAXSMP)."""
STARTUP_S = 180.0
"""Seconds for bpftrace to compile its program and attach its probes before the window; seen: 0.6 to 8, 75 on a busy
node, 100 in an emulated aarch64 machine."""
ENDING_S = 30.0
"""Seconds for bpftrace to detach and print after the window: a host that is silent for longer has stopped."""
LATE_S = 240.0
"""Seconds after the window's end in which a slice can end: the node kills a bpftrace by then that started at once
(tracing.py: the time for starting, which it did not use, and for ending)."""

_MAPS = 6
"""Those of keys: @a, @b, @c and @d, and @m and @v. bpftrace prints all of them without a limit when it is stopped."""
_ENTRY_BYTES = 400
"""Bytes of a printed entry: a key of 250, its numbers and the map's name."""
_LEAST_OUTPUT = 32 << 20
_MOST_OUTPUT = 1 << 28


class ImplausibleError(ValueError):
    """The node sent what cannot be true. The text says what, and ends a sentence."""


def implausible(error: ImplausibleError) -> HostError:
    """Return the error of a host that sent what cannot be true."""
    return HostError(
        HostState.TRACE_FAILED,
        IMPLAUSIBLE,
        f"the node sent what cannot be true, so nothing of it is reported: {error}; check who controls that node",
    )


def integer(digits: bytes, most: int, what: str) -> int:
    """Return the number that `digits` spell. Raises `ImplausibleError` above `most`, `ValueError` for other bytes."""
    if not digits.isdigit():
        raise ValueError(f"{what} is {digits[:40]!r} and not a number")
    # Compared by length first: to convert thousands of digits takes quadratic time.
    if len(digits.lstrip(b"0")) > len(str(most)) or (number := int(digits)) > most:
        raise ImplausibleError(f"{what} of {digits[:24].decode()}{'...' if len(digits) > 24 else ''}")
    return number


@dataclass(frozen=True, slots=True)
class OutputBounds:
    """How much the program of one trace can print."""

    totals: int = MAX_PID
    """Processes in one slice."""
    printed: int = 2000
    """Entries that are kept of one map: more adds nothing to the bounds that a summary gives."""
    entries: int = 1 << 17
    """Entries that one map of the kernel holds."""
    slices: int = 1 << 20
    kept: int = 20000
    """Entries that are kept of a map of the whole window."""

    @classmethod
    def of(cls, pids: int, settings: TraceSettings, *, script: bool) -> OutputBounds:
        """The bounds of a trace of so many processes, by a fleettrace program or by a user's own (`script`)."""
        slices = 2 if script else math.ceil((settings.duration_s + LATE_S) * 1000 / settings.slice_ms) + 4
        printed = max(1, settings.printed_once if script else settings.printed)
        return cls(pids, printed, max(settings.entries, settings.printed_once), slices, max(1, settings.printed_once))

    @property
    def max_entries(self) -> int:
        """Entries that the program can print: of each slice the largest ones of two maps, and of every map all of them
        when it is stopped."""
        return 2 * self.printed * self.slices + 2 * self.kept + 2 * _MAPS * self.entries

    @property
    def max_bytes(self) -> int:
        """Bytes that the program can print, with room for bpftrace's own messages."""
        return min(_MOST_OUTPUT, max(_LEAST_OUTPUT, self.max_entries * _ENTRY_BYTES))
