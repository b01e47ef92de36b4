"""`fleettrace run`: sweep now and report."""

from __future__ import annotations

import argparse

from fleettrace.cli.fleet import Transports, selected, tasks_of, warnings_of
from fleettrace.cli.output import check_writable
from fleettrace.cli.sweeping import sweep_and_report

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    check_writable(arguments.out)
    selection = selected(arguments)
    transports = Transports()
    try:
        tasks = tasks_of(selection.hosts, arguments, transports)
        return sweep_and_report(arguments, tasks, pattern=arguments.hosts, warnings=warnings_of(selection))
    finally:
        transports.close()
