"""`fleettrace report`: report a stored run again, from a run file or from the history."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.app.history import find_run, is_run_file, read_run
from fleettrace.app.options import ReportOptions
from fleettrace.app.output import report_writer
from fleettrace.app.redaction import redaction
from fleettrace.report.build import build_report
from fleettrace.report.items import Sort
from fleettrace.report.model import Report, TemplateRow
from fleettrace.store.history.model import StoredRun, result_of

__all__ = ["report_again"]

_TEMPLATES = 10
"""The number of families in a run's own report."""


def report_again(options: ReportOptions, name: str) -> None:
    """Write the report of a stored run: `name` is a run of the history, or a run file. Raises `ConfigError`."""
    redact, writer = redaction(options), report_writer(options)
    if is_run_file(name):
        writer.write(*redact.apply(read_run(name, options.top)))
        return
    stored = find_run(options.store, name)
    run, patterns = redact.apply(result_of(stored))
    report = build_report(run, top=options.top, patterns=patterns, sort=Sort(options.sort))
    if redact.how is None and not patterns:
        report = replace(report, templates=_templates(stored, report))
    totals = replace(report.totals, distinct=stored.distinct, absent=_absent(stored, report))
    writer.show(replace(report, totals=totals))


def _absent(stored: StoredRun, report: Report) -> int | None:
    """The run's own bound of keys that it did not see: keys that were not stored were seen."""
    return None if report.totals.absent is None else stored.unlisted_max


def _templates(stored: StoredRun, report: Report) -> tuple[TemplateRow, ...]:
    """The families that were found among all keys of the run."""
    total, rate = report.totals.requests, report.totals.rate
    rows = []
    for each in stored.templates[:_TEMPLATES]:
        share = each.requests / total if total else None
        of_rate = share * rate if share is not None and rate is not None else None
        rows.append(TemplateRow(each.template, each.requests, share, of_rate, each.keys, each.hottest))
    return tuple(rows)
