"""`fleettrace run`: sweep once and report."""

from __future__ import annotations

import argparse

from fleettrace.app.exit_code import exit_code
from fleettrace.app.options import RunOptions
from fleettrace.app.output import report_writer
from fleettrace.app.redaction import redaction
from fleettrace.app.runner import run
from fleettrace.cli.messages import progress_of, warn

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code."""
    options = RunOptions.of(vars(arguments))
    redact, writer = redaction(options), report_writer(options)
    result = run(options, write=writer.write, subscriber=progress_of(options), warn=warn, redact=redact)
    return exit_code(result, options.min_ok)
