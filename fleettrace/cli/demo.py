"""`fleettrace demo`: trace a fleet of seven hosts made on this machine."""

from __future__ import annotations

import argparse

from fleettrace.app.demo import trace_demo
from fleettrace.app.exit_code import exit_code
from fleettrace.app.options import RunOptions
from fleettrace.cli.messages import progress_of, warn

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code: 0 when only the host that is down on purpose failed."""
    options = RunOptions.of(vars(arguments))
    code = exit_code(trace_demo(options, subscriber=progress_of(options), warn=warn), options.min_ok)
    return 0 if code == 3 else code
