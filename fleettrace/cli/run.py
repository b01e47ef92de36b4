"""`fleettrace run`: sweep now and report."""

from __future__ import annotations

import argparse

from fleettrace.cli.fleet import Transports, selected, tasks_of, warnings_of
from fleettrace.cli.output import Wishes, wishes
from fleettrace.cli.redaction import Redaction, redaction
from fleettrace.cli.sweeping import sweep_and_report
from fleettrace.sweep.events import Listener, ignore

__all__ = ["command", "trace"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    return trace(arguments, redaction(arguments), wishes(arguments))


def trace(arguments: argparse.Namespace, hidden: Redaction, wanted: Wishes, listener: Listener = ignore) -> int:
    """Trace the hosts that are selected and report as it is wanted; gives the exit code."""
    selection = selected(arguments)
    transports = Transports()
    try:
        tasks = tasks_of(selection.hosts, arguments, transports)
        return sweep_and_report(
            arguments,
            tasks,
            pattern=arguments.hosts,
            write=wanted.write,
            redaction=hidden,
            warnings=warnings_of(selection),
            listener=listener,
        )
    finally:
        transports.close()
