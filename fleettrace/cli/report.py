"""`fleettrace report`: render a kept run again."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleettrace.cli.output import wishes
from fleettrace.cli.redaction import redaction
from fleettrace.store.kept import run_result
from fleettrace.store.merging import read_merged

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code, which says nothing of the hosts: they have been reported before."""
    hidden, wanted = redaction(arguments), wishes(arguments)
    wanted.write(*hidden.apply(run_result(read_merged([Path(arguments.file)]), top=arguments.top)))
    return 0
