"""`fleettrace report`: report a stored run again."""

from __future__ import annotations

import argparse

from fleettrace.app.options import ReportOptions
from fleettrace.app.report_again import report_again

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return 0: failed hosts decided the exit code of the run itself."""
    report_again(ReportOptions.of(vars(arguments)), arguments.run)
    return 0
