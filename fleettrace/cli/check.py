"""`fleettrace check`: log in to each host, find instances and plan probes; trace nothing."""

from __future__ import annotations

import argparse

from fleettrace.app.check import check
from fleettrace.app.exit_code import exit_code
from fleettrace.cli.messages import progress_of, warn
from fleettrace.cli.selection import list_hosts, run_options

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code."""
    options = run_options(arguments)
    if arguments.list_hosts:
        return list_hosts(options)
    return exit_code(check(options, subscriber=progress_of(options), warn=warn), options.min_ok, traced=False)
