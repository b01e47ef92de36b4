"""`fleettrace merge`: one report, and one run file, of many run files."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleettrace.cli.exit_code import exit_code
from fleettrace.cli.output import check_writable, report_writer
from fleettrace.cli.redaction import redaction
from fleettrace.errors import ConfigError
from fleettrace.store.runfile.merge import read_merged, save_merged
from fleettrace.store.runfile.run_result import run_result

__all__ = ["command"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code of a run that had all these hosts."""
    hidden, wanted = redaction(arguments), report_writer(arguments)
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
