"""`fleettrace hosts`: list the hosts that a pattern selects, with their variables."""

from __future__ import annotations

import argparse

from fleettrace.app.hosts import host_lines
from fleettrace.cli.messages import warn
from fleettrace.cli.selection import list_hosts, run_options

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Print the hosts and return 0."""
    options = run_options(arguments)
    if arguments.list_hosts:
        return list_hosts(options)
    for line in host_lines(options, warn):
        print(line)
    return 0
