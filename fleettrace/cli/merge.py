"""`fleettrace merge`: merge run files into one report, and into one run file."""

from __future__ import annotations

import argparse

from fleettrace.app.exit_code import exit_code
from fleettrace.app.merge import merge_files
from fleettrace.app.options import ReportOptions

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code of a run on all these hosts."""
    result = merge_files(ReportOptions.of(vars(arguments)), arguments.files, arguments.save)
    return exit_code(result, arguments.min_ok)
