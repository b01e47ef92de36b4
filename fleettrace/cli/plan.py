"""`fleettrace plan`: show hosts, program and command line; connect to none."""

from __future__ import annotations

import argparse

from fleettrace.app.plan import plan_lines
from fleettrace.cli.selection import list_hosts, run_options

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Print the plan and return 0."""
    options = run_options(arguments)
    if arguments.list_hosts:
        return list_hosts(options)
    print("\n".join(plan_lines(options, explain=arguments.explain)))
    return 0
