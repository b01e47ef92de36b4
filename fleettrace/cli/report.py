"""`fleettrace report`: render a kept run again, from a run file or from the history."""

from __future__ import annotations

import argparse
from dataclasses import replace

from fleettrace.cli.keeping import kept_run, names_a_file, read_run
from fleettrace.cli.output import report_writer
from fleettrace.cli.redaction import redaction
from fleettrace.report.build import build_report
from fleettrace.report.model import Report, TemplateRow
from fleettrace.store.history.model import StoredRun, result_of

__all__ = ["command"]

_TEMPLATES = 10
"""As many as a run's own report has."""


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code, which says nothing of the hosts: they have been reported before."""
    hidden, wanted = redaction(arguments), report_writer(arguments)
    if names_a_file(arguments.run):
        wanted.write(*hidden.apply(read_run(arguments.run, arguments.top)))
        return 0
    kept = kept_run(arguments, arguments.run)
    run, patterns = hidden.apply(result_of(kept))
    report = build_report(run, top=arguments.top, patterns=patterns)
    if hidden.how is None and not patterns:
        report = replace(report, templates=_templates(kept, report))
    wanted.show(replace(report, totals=replace(report.totals, distinct=kept.distinct, absent=_absent(kept, report))))
    return 0


def _absent(kept: StoredRun, report: Report) -> int | None:
    """What the run itself said of keys never seen: those that were not kept were seen."""
    return None if report.totals.absent is None else kept.unlisted_max


def _templates(kept: StoredRun, report: Report) -> tuple[TemplateRow, ...]:
    """The families found when all keys of the run were there."""
    total, rate = report.totals.requests, report.totals.rate
    rows = []
    for each in kept.templates[:_TEMPLATES]:
        share = each.requests / total if total else None
        of_rate = share * rate if share is not None and rate is not None else None
        rows.append(TemplateRow(each.template, each.requests, share, of_rate, each.keys, each.hottest))
    return tuple(rows)
