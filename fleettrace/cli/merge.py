"""`fleettrace merge`: one report, and one run file, of many run files."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleettrace.cli.exit_code import exit_code
from fleettrace.cli.output import check_writable, wishes
from fleettrace.cli.redaction import redaction
from fleettrace.errors import ConfigError
from fleettrace.store.kept import run_result
from fleettrace.store.merging import read_merged, save_merged

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code of a run that had all these hosts."""
    hidden, wanted = redaction(arguments), wishes(arguments)
    if arguments.save is not None:
        check_writable(arguments.save)
        if hidden.how is not None:
            raise ConfigError("--save with --redact: run files are copied as they are; redact when sweeping")
    merged = read_merged([Path(name) for name in arguments.files])
    if arguments.save is not None:
        save_merged(merged, Path(arguments.save))
    result = run_result(merged, top=arguments.top)
    wanted.write(*hidden.apply(result))
    return exit_code(result, None, arguments.min_ok)
