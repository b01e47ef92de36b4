"""What the exporter serves: the metrics of the newest result, and how its sweeps went."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fleettrace.report.metrics_text import Metric, many, metric_lines, one

__all__ = ["Outcome", "Status"]


class Outcome(StrEnum):
    """How a sweep ended."""

    OK = "ok"
    """Every host was traced completely."""
    INCOMPLETE = "incomplete"
    """Some hosts failed, at least `--min-ok` did not."""
    FAILED = "failed"
    """No sweep was possible, too many hosts failed, or the deadline passed."""
    SKIPPED = "skipped"
    """Another run held the lock."""


def _since_boot() -> float:
    """Return seconds, with those in which the machine was suspended: a result grows old then, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Ended:
    """The last sweep that was not skipped."""

    outcome: Outcome
    at: float
    """Unix time."""
    seconds: float
    """Duration of the whole sweep."""


@dataclass(frozen=True, slots=True)
class Result:
    """The metrics of a report."""

    text: bytes
    started: float
    """The beginning of its sweep, in seconds since the machine's start."""


class Status:
    """The state of an exporter. One thread sweeps, any number of threads read `text`."""

    def __init__(
        self,
        interval_s: float,
        expires_s: float,
        clock: Callable[[], float] = _since_boot,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._interval_s, self._expires_s = interval_s, expires_s
        self._clock, self._wall_clock = clock, wall_clock
        self._lock = threading.Lock()
        self._outcomes: Counter[Outcome] = Counter()
        self._started: float | None = None
        """When the sweep under way began."""
        self._last: Ended | None = None
        self._result: Result | None = None

    def begin(self) -> None:
        """Record the start of a sweep."""
        with self._lock:
            self._started = self._clock()

    def end(self, outcome: Outcome, text: str | None = None) -> None:
        """Record the end of the sweep. `text` has the metrics of its report, where it has one."""
        with self._lock:
            now = self._clock()
            started = now if self._started is None else self._started
            self._started = None
            self._outcomes[outcome] += 1
            if outcome is not Outcome.SKIPPED:
                self._last = Ended(outcome, self._wall_clock(), now - started)
            if text is not None:
                self._result = Result(text.encode(), started)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format. A result that is too old is left out."""
        with self._lock:
            now = self._clock()
            if self._result is not None and now - self._result.started > self._expires_s:
                self._result = None
            age_s = None if self._result is None else now - self._result.started
            own = "".join(line for metric in self._metrics(age_s) for line in metric_lines(metric))
            return own.encode() + (b"# EOF\n" if self._result is None else self._result.text)

    def _metrics(self, age_s: float | None) -> Iterator[Metric]:
        yield one("exporter_interval_seconds", "Time from sweep to sweep.", self._interval_s)
        yield one("exporter_sweep_running", "1 while a sweep is under way.", int(self._started is not None))
        outcomes = (({"outcome": outcome.value}, self._outcomes[outcome]) for outcome in Outcome)
        yield many("exporter_sweeps_total", "Sweeps, by how they ended.", outcomes, "counter")
        yield one("exporter_result_age_seconds", "Time since the start of the sweep that is served.", age_s)
        if (last := self._last) is not None:
            succeeded = int(last.outcome is not Outcome.FAILED)
            yield one("exporter_last_sweep_succeeded", "1 when the last sweep traced enough hosts.", succeeded)
            yield one("exporter_last_sweep_timestamp_seconds", "End of the last sweep.", last.at)
            yield one("exporter_last_sweep_duration_seconds", "Duration of the last sweep.", last.seconds)
