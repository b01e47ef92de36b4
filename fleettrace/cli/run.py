"""`fleettrace run`: sweep now and report."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import ExitStack

from fleettrace.cli.fleet import Transports, selected, tasks_of, warnings_of
from fleettrace.cli.output import Wishes, wishes
from fleettrace.cli.progress import troubles
from fleettrace.cli.redaction import Redaction, redaction
from fleettrace.cli.saving import Saver, saver
from fleettrace.cli.schedule import its_turn
from fleettrace.cli.secrets import asked_password
from fleettrace.cli.sweeping import Write, sweep_and_report
from fleettrace.errors import ConfigError
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Listener, ignore, together

__all__ = ["command", "trace"]


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    return trace(arguments, redaction(arguments), wishes(arguments), troubles(quiet=arguments.quiet))


def trace(
    arguments: argparse.Namespace,
    hidden: Redaction,
    wanted: Wishes,
    listener: Listener = ignore,
    display: Listener | None = None,
) -> int:
    """Trace the hosts that are selected, report and keep it as it is wanted; gives the exit code. `listener` hears of
    it beside the progress, `display` in its place."""
    selection = selected(arguments)
    with ExitStack() as stack:
        transports = Transports()
        stack.callback(transports.close)
        tasks = tasks_of(selection.hosts, arguments, transports, asked_password(arguments))
        stack.enter_context(its_turn(arguments))
        kept = saver(arguments, hidden)
        if kept is not None:
            stack.enter_context(kept).order([task.name for task in tasks])
        return sweep_and_report(
            arguments,
            tasks,
            pattern=arguments.hosts,
            write=wanted.write if kept is None else _write_both(wanted.write, kept),
            redaction=hidden,
            warnings=warnings_of(selection),
            listener=listener if kept is None else together(listener, kept),
            display=display,
        )


def _write_both(write: Write, kept: Saver) -> Write:
    """Finish the run file, and write the report even where that fails."""

    def write_both(result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        failed: ConfigError | None = None
        try:
            kept.finish(result)
        except ConfigError as error:
            failed = error
        write(result, patterns)
        if failed is not None:
            raise failed

    return write_both
