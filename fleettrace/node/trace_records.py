"""Read the records that trace.sh reports around a trace: which processes ran, refusals, clocks, bpftrace's status."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping

from fleettrace.node.binding import refusals
from fleettrace.node.model import Instance
from fleettrace.node.records import Record
from fleettrace.node.samples import Sample, by_process, in_order
from fleettrace.summary.run import Failure

__all__ = ["TraceRecords"]

_TAGS = frozenset(
    (
        *(f"{what}-{when}" for what in ("process", "exe", "shell") for when in ("before", "after")),
        *("clocks", "trace", "status", "end", "held", "refused"),
    )
)
"""The records that are used."""
_NUMBER = re.compile(rb"\d{1,18}")
_DEAD = (b"Z", b"X", b"x")
"""States of /proc/PID/stat in which a process has ended (proc(5)); a zombie's parent has not waited for it."""
_EXE = re.compile(rb"^/proc/(\d{1,10})/exe (\d{1,20}:\d{1,20})$", re.MULTILINE)
_SAME_CLOCK_NS = 50_000_000
"""Clocks that differ by less are the same clock, read at different times."""


class TraceRecords:
    """The records of one trace of `instances`, by pid."""

    def __init__(self, instances: Mapping[int, Instance]) -> None:
        self._instances = instances
        self._values: dict[str, list[bytes]] = {}

    def __contains__(self, tag: str) -> bool:
        return tag in self._values

    def add(self, record: Record) -> None:
        """Store a record that is used."""
        if record.tag in _TAGS:
            self._values.setdefault(record.tag, []).append(record.value)

    def _last(self, tag: str) -> bytes:
        return (self._values.get(tag) or [b""])[-1]

    @property
    def status(self) -> str:
        """bpftrace's exit status as sh has it, in decimal; empty if none was reported."""
        return self._last("status").decode("ascii", "replace")

    @property
    def exited(self) -> bool:
        """bpftrace exited by itself or after an interrupt, and was not killed and did not crash."""
        # sh adds 128 to the number of a signal.
        code = int(self.status) if re.fullmatch(r"[0-9]{1,3}", self.status) else 128
        return code < 128 or code - 128 in (signal.SIGINT, signal.SIGTERM)

    @property
    def refused(self) -> dict[int, Failure]:
        """The reasons why the node did not trace processes, by pid."""
        found = refusals(self._values.get("refused", []))
        return {pid: failure for pid, failure in found.items() if pid in self._instances}

    @property
    def gone(self) -> frozenset[int]:
        """The pids that the node has shown not to be the planned processes, or no longer.

        A script that ended before it reported on a process shows nothing about it.
        """
        starts = self._starts("process-after" if "end" in self else "process-before")
        return frozenset(
            pid for pid, start in starts.items() if pid in self._instances and not self._planned(pid, start)
        )

    @property
    def alive(self) -> set[int]:
        """The pids of planned processes that still run the same binary, as far as the records show."""
        alive = set(self._instances)
        if "end" in self:
            # A process without a report at the end is not counted as alive: its counts are partial.
            starts = self._starts("process-after")
            alive = {pid for pid in self._instances if self._planned(pid, starts.get(pid))}
        return alive - self._exchanged()

    def _planned(self, pid: int, start: int | None) -> bool:
        return start == self._instances[pid].start

    @property
    def tracer_cpu_s(self) -> float | None:
        """The CPU seconds of bpftrace and of the processes that started it; None before the trace's end."""
        before, after = (_children_s(self._last(f"shell-{when}")) for when in ("before", "after"))
        return None if before is None or after is None else after - before

    def by_pid(self, samples: Iterable[Sample]) -> dict[int, list[Sample]]:
        """Return the samples by pid, in order of time, on bpftrace's clock."""
        clocks = re.fullmatch(rb"(\d{1,15})\.(\d\d) (\d{1,19})", self._last("clocks"))
        offset = int(clocks[1] + clocks[2]) * 10_000_000 - int(clocks[3]) if clocks else 0
        own = by_process(samples)
        lag = offset if abs(offset) > _SAME_CLOCK_NS else 0
        return {pid: in_order(own.get(pid, ()), pid, lag) for pid in self._instances}

    def named_by_pid(self, line: bytes) -> bytes:
        """Return a message with /proc/PID/exe for each binary, which bpftrace names by its holder (binding.sh)."""
        for held in self._values.get("held", []):
            pid, _, holder = held.partition(b" ")
            if pid.isdigit() and holder.isdigit() and len(held) < 24:
                line = re.sub(rb"/proc/%b/fd/5" % holder, b"/proc/%b/exe" % pid, line)
        return line

    def _exchanged(self) -> set[int]:
        """Return the pids that ran another binary at the end than at the beginning (execve keeps pid and start)."""
        before, after = (dict(_EXE.findall(self._last(f"exe-{when}"))) for when in ("before", "after"))
        return {int(pid) for pid in after if pid in before and after[pid] != before[pid]}

    def _starts(self, tag: str) -> dict[int, int | None]:
        """Return when each reported process started, in clock ticks, by pid; None for one that has ended."""
        starts: dict[int, int | None] = {}
        for value in self._values.get(tag, []):
            # PID, a blank, and /proc/PID/stat, which is empty for a process that has ended.
            pid = re.match(rb"\d{1,10}(?= )", value)
            if pid is None:
                continue
            fields = _stat_fields(value)
            alive = len(fields) > 19 and _NUMBER.fullmatch(fields[19]) and fields[0] not in _DEAD
            starts[int(pid[0])] = int(fields[19]) if alive else None
        return starts


def _stat_fields(line: bytes) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the third on; the second, in parentheses, may contain anything."""
    return line.rpartition(b")")[2].split()


def _children_s(stat: bytes) -> float | None:
    """Return the CPU seconds of the children that a process has waited for, from its /proc/PID/stat.

    cutime and cstime (proc(5)) are in ticks, which are 10 ms on every architecture that bpftrace runs on.
    """
    ticks = [int(field) for field in _stat_fields(stat)[13:15] if field.isdigit() and len(field) < 19]
    return sum(ticks) / 100 if len(ticks) == 2 else None
