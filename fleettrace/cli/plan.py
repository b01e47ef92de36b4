"""`fleettrace plan`: show hosts, program and command line; connect to none."""

from __future__ import annotations

import argparse

from fleettrace.app.options import RunOptions
from fleettrace.app.plan import plan_lines

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Print the plan and return 0."""
    print("\n".join(plan_lines(RunOptions.of(vars(arguments)), explain=arguments.explain)))
    return 0
