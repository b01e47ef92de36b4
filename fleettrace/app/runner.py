"""Sweep once, report, and store the run: what `fleettrace run` does.

from fleettrace.app import RunOptions, run

result = run(RunOptions(inventory=("inventory.yaml",), hosts="cache-*", duration=5.0))
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace.app.options import RunOptions
from fleettrace.app.redaction import Redaction, redaction
from fleettrace.app.secrets import ask_passwords
from fleettrace.app.site import read_site
from fleettrace.app.targets import Transports, host_tasks, inventory_warnings, select_hosts
from fleettrace.errors import ConfigError
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Subscriber, broadcast, ignore

if TYPE_CHECKING:
    from fleettrace.app.run_file import RunFileSaver
    from fleettrace.app.sweep_session import Resumed, Running, Write

__all__ = ["run", "trace"]


def run(
    options: RunOptions,
    *,
    write: Write | None = None,
    subscriber: Subscriber = ignore,
    warn: Callable[[str], None] = lambda _message: None,
    live: bool = False,
    redact: Redaction | None = None,
) -> RunResult:
    """Sweep the selected hosts and return the result, with keys redacted as the options request.

    `write` writes the report as soon as the sweep has ended, `subscriber` receives the sweep's events (with the slices
    of the traces, if `live`), `warn` receives what goes wrong beside the sweep, such as a history that cannot be
    written, and the details that `verbose` asks for. `redact` is used in place of what the options request. SIGINT,
    SIGTERM and SIGHUP end the sweep early where the caller is the main thread; `RunResult.stopped` has the reason.

    Raises `ConfigError` for options, inventories and files that are wrong, before any host is connected to, and
    `BusyError` when another run of the same name is under way.
    """
    names = redaction(options) if redact is None else redact
    report = write or (lambda _result, _patterns: None)
    if options.resume is None:
        return trace(options, names, report, subscriber=subscriber, warn=warn, live=live)
    from fleettrace.app.detach import read_detached
    from fleettrace.app.resume import resume
    from fleettrace.app.sweep_session import Resumed

    if not Path(options.resume).exists() and (left := read_detached(options.resume)) is not None:
        # The controller ended before it wrote the run file: hosts, name and window are those of the detached run.
        own = replace(
            options,
            hosts=left.info.pattern,
            limit=",".join(left.hosts) + ",",
            shard=None,
            name=options.name or left.info.pattern,
            duration=left.info.duration_s,
            save=options.save or options.resume,
        )
        resumed = Resumed(left.info, left.hosts, report)
        return trace(own, names, report, subscriber=subscriber, warn=warn, live=live, resumed=resumed)

    def complete(own: RunOptions, resumed: Resumed) -> RunResult:
        return trace(own, names, report, subscriber=subscriber, warn=warn, live=live, resumed=resumed)

    return resume(options, options.resume, report, names.patterns, complete)


def trace(
    options: RunOptions,
    redact: Redaction,
    write: Write,
    *,
    subscriber: Subscriber = ignore,
    warn: Callable[[str], None],
    live: bool = False,
    resumed: Resumed | None = None,
    not_stored: Callable[[str], None] | None = None,
    asked: Sequence[bytes] = (),
    running: Running | None = None,
) -> RunResult:
    """Trace the selected hosts, store the run, and report it by `write`. With `resumed` it is a part of that run.

    `not_stored` receives why the run could not be stored, `warn` in its absence. With `asked` it counts only the
    requests for these keys, by client (summary/clients.py). `running`: see `sweep`.
    """
    selection = select_hosts(options)
    # What follows takes long to import, and a wrong option or inventory is reported without it.
    from fleettrace.app.detach import detached
    from fleettrace.app.exclusive import exclusive
    from fleettrace.app.reach import details, login_warnings
    from fleettrace.app.run_file import run_file_saver
    from fleettrace.app.sweep_session import stopped_by_signals, sweep

    with ExitStack() as stack:
        transports = Transports()
        stack.callback(transports.close)
        site = read_site(options, interactive=sys.stdin.isatty())
        tasks = host_tasks(selection.hosts, options, site, transports, ask_passwords(site))
        names = [task.name for task in tasks]
        transports.check(options.ssh_config)
        for line in details(options.verbose, selection.notes, site.lines(), tasks, transports):
            warn(line)
        stack.enter_context(exclusive(options, warn))
        detach, begin_detached = stack.enter_context(detached(options, names, warn))
        subscriber = broadcast(subscriber, begin_detached)
        write = write if resumed is None else resumed.write
        saver = run_file_saver(options, redact)
        if saver is not None:
            stack.enter_context(saver).order(names if resumed is None else resumed.hosts)
            subscriber, write = broadcast(subscriber, saver), _write_both(write, saver)
        return sweep(
            options,
            tasks,
            site,
            write=write,
            redact=redact,
            warnings=lambda: [*inventory_warnings(selection), *login_warnings(tasks, transports.queries)],
            subscriber=subscriber,
            warn=warn,
            live=live,
            info=None if resumed is None else resumed.info,
            detach=detach,
            not_stored=not_stored,
            asked=asked,
            running=running or stopped_by_signals,
        )


def _write_both(write: Write, saver: RunFileSaver) -> Write:
    """Finish the run file, and write the report even where that fails."""

    def write_both(result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        failed: ConfigError | None = None
        try:
            saver.finish(result)
        except ConfigError as error:
            failed = error
        write(result, patterns)
        if failed is not None:
            raise failed

    return write_both
