"""Collect the errors and warnings for readers: equal ones once, with folded host names, then those of the whole run."""

from __future__ import annotations

from fleettrace.report.escape import escape_text
from fleettrace.report.host_folding import fold_errors
from fleettrace.report.model import Report

__all__ = ["problems"]


def problems(report: Report) -> list[tuple[str, str]]:
    """Return errors and warnings as (folded hosts, or empty for the whole run; message), both escaped."""
    errors = [(row.host, row.error.message) for row in report.hosts if row.error is not None]
    for row in report.hosts:
        failed = [item for item in row.instances if item.error is not None and item.error != row.error]
        errors += [(row.host, f"pid {item.pid}: {item.error.message}") for item in failed if item.error is not None]
    warnings = [(item.host, item.message) for item in report.warnings if item.host is not None]
    folded = [*fold_errors(errors), *fold_errors(warnings)]
    whole_run = [("", escape_text(item.message)) for item in report.warnings if item.host is None]
    return [(escape_text(item.hosts), escape_text(item.message)) for item in folded] + whole_run
