"""`fleettrace play`: run playbooks, each play a run of its own."""

from __future__ import annotations

import argparse
import json
import sys

from fleettrace.app.play.options import PlayOptions
from fleettrace.app.play.plays import PlaybookError, list_hosts, load_plays, playbook_schema, problem_lines, run_plays
from fleettrace.cli.messages import progress_of, warn

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code."""
    if arguments.schema:
        print(json.dumps(playbook_schema(), indent=2))
        return 0
    options = PlayOptions.of(vars(arguments))
    try:
        plays = load_plays(options)
    except PlaybookError as error:
        for line in problem_lines(error):
            print(line, file=sys.stderr)
        return 2
    if options.list_hosts:
        for line in list_hosts(plays):
            print(line)
        return 0
    return run_plays(plays, check=options.check, subscriber=progress_of, warn=warn)
