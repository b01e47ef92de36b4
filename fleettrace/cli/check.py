"""`fleettrace check`: log in to each host, find instances and plan probes; trace nothing."""

from __future__ import annotations

import argparse

from fleettrace.app.check import check
from fleettrace.app.exit_code import exit_code
from fleettrace.app.options import RunOptions
from fleettrace.cli.messages import progress_of, warn

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code."""
    options = RunOptions.of(vars(arguments))
    return exit_code(check(options, subscriber=progress_of(options), warn=warn), options.min_ok, traced=False)
