"""`fleettrace diff`: compare two runs."""

from __future__ import annotations

import argparse
import json

from fleettrace.app.diff import compare_runs, diff_lines
from fleettrace.app.output import write_file_or_stdout

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code: with `--exit-code` 1 for changes, 4 where nothing could be compared."""
    diff = compare_runs(arguments.store, arguments.before, arguments.after, arguments.min_change)
    if arguments.output == "json":
        from fleettrace.app.diff_json import diff_document

        lines = [json.dumps(diff_document(diff))]
    else:
        lines = diff_lines(diff, arguments.top)
    write_file_or_stdout(None, "".join(f"{line}\n" for line in lines))
    if not diff.tested and not diff.changes:
        return 4
    return 1 if diff.changes and arguments.exit_code else 0
