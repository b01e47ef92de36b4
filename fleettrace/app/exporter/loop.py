"""Sweep at intervals and serve the result: what `fleettrace exporter` does."""

from __future__ import annotations

import io
import re
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fleettrace.app.exit_code import exit_code
from fleettrace.app.exporter.options import ExporterOptions, check
from fleettrace.app.exporter.server import serving, shown_address
from fleettrace.app.exporter.signals import EndRequested, ExporterSignals
from fleettrace.app.exporter.status import Outcome, Status
from fleettrace.app.redaction import Redaction, redaction
from fleettrace.app.runner import trace
from fleettrace.app.targets import forget_inventories
from fleettrace.errors import BusyError, ConfigError
from fleettrace.report.build import build_report
from fleettrace.report.prometheus import PrometheusFormatter
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Subscriber

__all__ = ["export"]

_OUTCOMES = {0: Outcome.OK, 3: Outcome.INCOMPLETE}
"""By the exit code that `fleettrace run` would have; all others are failures."""


def export(options: ExporterOptions, *, subscriber: Callable[[], Subscriber], warn: Callable[[str], None]) -> None:
    """Sweep at intervals and serve metrics until SIGTERM or SIGINT. Call it in the main thread.

    `subscriber` returns the subscriber of one sweep's events. Raises `ConfigError` where the options, the address or
    the first reading of the inventory fail; later, such an error is a failed sweep.
    """
    check(options)
    redact = redaction(options)
    status = Status(options.interval, _expires_s(options))
    # Hundreds of runs a day would push those of audits out of the history.
    exporter = _Exporter(replace(options, no_store=True), redact, status, subscriber, warn)
    with suppress(EndRequested), exporter.signals.handled(), serving(options.listen, status.text) as listen:
        if not options.quiet:
            warn(f"serving http://{shown_address(listen)}/metrics")
        exporter.run()


def _expires_s(options: ExporterOptions) -> float:
    """Return the age from which on a result is not served: two sweeps have failed since, or one hangs."""
    return 2 * options.interval + (options.deadline or options.interval)


@dataclass(slots=True)
class _Exporter:
    options: ExporterOptions
    redact: Redaction
    status: Status
    subscriber: Callable[[], Subscriber]
    warn: Callable[[str], None]
    signals: ExporterSignals = field(default_factory=ExporterSignals)
    _text: str | None = None
    """The metrics of the sweep under way, once it has ended."""

    def run(self) -> None:
        """Sweep at each multiple of the interval; after a sweep that took longer, at the next multiple.

        Raises `EndRequested`.
        """
        begun, first = time.monotonic(), True
        while not self.signals.ended:
            self._sweep(first=first)
            first = False
            interval_s = self.options.interval
            self.signals.wait(interval_s - (time.monotonic() - begun) % interval_s)

    def _sweep(self, *, first: bool) -> None:
        self.status.begin()
        self._text, outcome = None, Outcome.FAILED
        try:
            with self.signals.sweeping():
                outcome = self._outcome(self._trace())
        except BusyError as error:
            outcome = Outcome.SKIPPED
            self.warn(f"sweep skipped: {error}")
        except ConfigError as error:
            if first:
                raise
            self.warn(f"sweep failed: {error}")
        except Exception:
            self.warn(f"sweep failed: a fault in fleettrace, please report it: {traceback.format_exc()}")
        finally:
            self.status.end(outcome, self._text)

    def _trace(self) -> RunResult:
        forget_inventories()
        return trace(
            self.options,
            self.redact,
            self._write,
            subscriber=self.subscriber(),
            warn=self.warn,
            running=self.signals.cancelling,
        )

    def _outcome(self, result: RunResult) -> Outcome:
        return _OUTCOMES.get(exit_code(result, self.options.min_ok), Outcome.FAILED)

    def _write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        report = build_report(result, top=self.options.top, patterns=patterns)
        out = io.StringIO()
        PrometheusFormatter(keys=self.options.prometheus_keys).write(report, out)
        self._text = out.getvalue()
