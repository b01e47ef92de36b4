"""`fleettrace exporter`: sweep at intervals, and serve metrics."""

from __future__ import annotations

import argparse
import os

from fleettrace.app.exporter.loop import export
from fleettrace.app.exporter.options import ExporterOptions
from fleettrace.cli.messages import progress_of, warn
from fleettrace.cli.selection import selected

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code: 0 after SIGTERM and SIGINT."""
    options = ExporterOptions.of(selected(arguments))
    _read_nothing()
    export(options, subscriber=lambda: progress_of(options), warn=warn)
    return 0


def _read_nothing() -> None:
    """Replace standard input: a sweep that asks for a password would wait for hours."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
