"""`fleettrace run`: sweep once and report."""

from __future__ import annotations

import argparse

from fleettrace.app.exit_code import exit_code
from fleettrace.app.output import report_writer
from fleettrace.app.redaction import redaction
from fleettrace.app.runner import run
from fleettrace.cli.messages import progress_of, warn
from fleettrace.cli.selection import list_hosts, run_options

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code."""
    options = run_options(arguments)
    if arguments.list_hosts:
        return list_hosts(options)
    redact, writer = redaction(options), report_writer(options)
    result = run(options, write=writer.write, subscriber=progress_of(options), warn=warn, redact=redact)
    return exit_code(result, options.min_ok)
