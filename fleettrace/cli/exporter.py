"""`fleettrace exporter`: sweep at intervals, and serve metrics."""

from __future__ import annotations

import argparse
import os

from fleettrace.app.exporter.loop import export
from fleettrace.app.exporter.options import ExporterOptions
from fleettrace.cli.messages import warn
from fleettrace.cli.selection import selected
from fleettrace.tui.progress import progress

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code: 0 after SIGTERM and SIGINT."""
    options = ExporterOptions.of(selected(arguments))
    _read_nothing()
    # Failures are folded: of a large fleet, some hosts are always down.
    verbose = options.verbose > 0
    export(options, subscriber=lambda: progress(quiet=not verbose, verbose=verbose, color=False), warn=warn)
    return 0


def _read_nothing() -> None:
    """Replace standard input: a sweep that asks for a password would wait for hours."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
