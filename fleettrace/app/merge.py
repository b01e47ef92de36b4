"""`fleettrace merge`: merge run files into one report, and into one run file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleettrace.app.options import ReportOptions
from fleettrace.app.output import check_writable, report_writer
from fleettrace.app.redaction import redaction
from fleettrace.errors import ConfigError
from fleettrace.store.runfile.merge import read_merged, save_merged
from fleettrace.store.runfile.run_result import run_result
from fleettrace.summary.run import RunResult

__all__ = ["merge_files"]


def merge_files(options: ReportOptions, files: Sequence[str], save: str | None) -> RunResult:
    """Merge run files, write the report, and return the result; with `save`, write a run file of all. Raises
    `ConfigError`."""
    redact, writer = redaction(options), report_writer(options)
    if save is not None:
        check_writable(save)
        if redact.how is not None:
            raise ConfigError("--save with --redact: run files are copied as they are; redact when sweeping")
    merged = read_merged([Path(name) for name in files])
    if save is not None:
        save_merged(merged, Path(save))
    result = run_result(merged, top=options.top)
    writer.write(*redact.apply(result))
    return result
