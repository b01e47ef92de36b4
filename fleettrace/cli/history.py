"""`fleettrace history`: list stored runs."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields

from fleettrace.app.history_view import HistoryOptions, show_history
from fleettrace.app.output import write_file_or_stdout

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return 0; an empty history is an empty list."""
    given = vars(arguments)
    document, lines = show_history(HistoryOptions(**{each.name: given[each.name] for each in fields(HistoryOptions)}))
    if arguments.output == "json":
        lines = [json.dumps(document)]
    write_file_or_stdout(None, "".join(f"{line}\n" for line in lines))
    return 0
