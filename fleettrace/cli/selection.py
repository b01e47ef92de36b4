"""What the commands that select hosts share: their options, and `--list-hosts`."""

from __future__ import annotations

import argparse
from typing import Any

from fleettrace.app.hosts import host_list
from fleettrace.app.options import RunOptions
from fleettrace.cli.messages import warn

__all__ = ["list_hosts", "run_options", "selected"]


def run_options(arguments: argparse.Namespace) -> RunOptions:
    """Return the options of a command line that selects hosts."""
    return RunOptions.of(selected(arguments))


def selected(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the options; positional patterns and `--hosts` select the union of their hosts."""
    values = dict(vars(arguments))
    if arguments.pattern:
        given = [arguments.hosts] if getattr(arguments, "hosts_given", False) else []
        values["hosts"] = ",".join([*given, *arguments.pattern])
    return values


def list_hosts(options: RunOptions) -> int:
    """Print the selected hosts as `ansible --list-hosts` does, and return the exit code 0. Raises `ConfigError`."""
    for line in host_list(options, warn):
        print(line)
    return 0
