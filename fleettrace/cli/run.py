"""`fleettrace run`: sweep now and report."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fleettrace.cli.detach import detached, left_run
from fleettrace.cli.fleet import Transports, selected, tasks_of, warnings_of
from fleettrace.cli.output import report_writer
from fleettrace.cli.progress import troubles
from fleettrace.cli.redaction import Redaction, redaction
from fleettrace.cli.saving import Saver, saver
from fleettrace.cli.schedule import its_turn
from fleettrace.cli.secrets import asked_password
from fleettrace.cli.sweeping import Write, sweep_and_report
from fleettrace.errors import ConfigError
from fleettrace.summary.run import RunInfo, RunResult
from fleettrace.sweep.events import Subscriber, broadcast, ignore

__all__ = ["Resumed", "command", "trace"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The run that a sweep completes."""

    info: RunInfo
    hosts: Sequence[str]
    """All of it, in its order."""
    write: Write
    """Writes what the run and the sweep say together."""


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    told = troubles(quiet=arguments.quiet)
    hidden, wanted = redaction(arguments), report_writer(arguments)
    if arguments.resume is None:
        return trace(arguments, hidden, wanted.write, told)
    if not Path(arguments.resume).exists() and (left := left_run(arguments.resume)) is not None:
        # Its controller never came to write the run file: what is selected and how it was traced are the run's.
        arguments.hosts, arguments.limit, arguments.shard = left.info.pattern, ",".join(left.hosts) + ",", None
        arguments.name = arguments.name or left.info.pattern
        arguments.duration, arguments.save = left.info.duration_s, arguments.save or arguments.resume
        return trace(arguments, hidden, wanted.write, told, resumed=Resumed(left.info, left.hosts, wanted.write))
    from fleettrace.cli.resuming import resume

    def again(resumed: Resumed) -> int:
        return trace(arguments, hidden, wanted.write, told, resumed=resumed)

    return resume(arguments, wanted, hidden.patterns, again)


def trace(
    arguments: argparse.Namespace,
    hidden: Redaction,
    write: Write,
    listener: Subscriber = ignore,
    display: Subscriber | None = None,
    resumed: Resumed | None = None,
) -> int:
    """Trace the hosts that are selected, keep the run, and let `write` report it; gives the exit code. `listener` hears
    of it beside the progress, `display` in its place. With `resumed` it is a part of that run."""
    selection = selected(arguments)
    with ExitStack() as stack:
        transports = Transports()
        stack.callback(transports.close)
        tasks = tasks_of(selection.hosts, arguments, transports, asked_password(arguments))
        transports.check(arguments.ssh_config)
        stack.enter_context(its_turn(arguments))
        detach, heard = stack.enter_context(detached(arguments, [task.name for task in tasks]))
        listener = broadcast(listener, heard)
        kept = saver(arguments, hidden)
        if kept is not None:
            stack.enter_context(kept).order(resumed.hosts if resumed else [task.name for task in tasks])
        write = write if resumed is None else resumed.write
        return sweep_and_report(
            arguments,
            tasks,
            pattern=arguments.hosts,
            write=write if kept is None else _write_both(write, kept),
            redaction=hidden,
            warnings=warnings_of(selection),
            listener=listener if kept is None else broadcast(listener, kept),
            display=display,
            info=None if resumed is None else resumed.info,
            detach=detach,
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
