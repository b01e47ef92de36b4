"""`fleettrace hosts`: list the hosts that a pattern selects, with their variables."""

from __future__ import annotations

import argparse
from dataclasses import replace

from fleettrace.app.hosts import host_lines
from fleettrace.app.options import RunOptions
from fleettrace.cli.messages import warn

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Print a line for each host and return 0."""
    options = RunOptions.of(vars(arguments))
    if arguments.pattern is not None:
        options = replace(options, hosts=arguments.pattern)
    for line in host_lines(options, warn):
        print(line)
    return 0
