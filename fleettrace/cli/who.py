"""`fleettrace who`: which clients ask for these keys."""

from __future__ import annotations

import argparse

from fleettrace.app.exit_code import exit_code
from fleettrace.app.who import WhoOptions, who
from fleettrace.cli.messages import progress_of, warn

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code."""
    options = WhoOptions.of(vars(arguments))
    return exit_code(who(options, subscriber=progress_of(options), warn=warn), options.min_ok)
