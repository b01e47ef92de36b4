"""`fleettrace top`: the same as run, live on a terminal, ending with the trace and the report."""

from __future__ import annotations

import argparse
import os
import sys
import termios

from fleettrace.app.exit_code import exit_code
from fleettrace.app.output import check_writable, report_writer
from fleettrace.app.redaction import Redaction, redaction
from fleettrace.app.runner import run
from fleettrace.cli.messages import warn
from fleettrace.cli.selection import list_hosts, run_options
from fleettrace.errors import ConfigError
from fleettrace.tui.display import LiveDisplay
from fleettrace.tui.view import LiveView

__all__ = ["command", "live_view"]


def command(arguments: argparse.Namespace) -> int:
    """Run it and return the exit code: 0 also when the user ended the trace with `q`."""
    options = run_options(arguments)
    if arguments.list_hosts:
        return list_hosts(options)
    redact, writer = redaction(options), report_writer(options)
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        raise ConfigError("top needs a terminal to draw on and to read keys from: use `fleettrace run`")
    display = LiveDisplay(live_view(options.hosts, redact), check_writable)
    try:
        with display.shown():
            result = run(options, write=writer.write, subscriber=display.listen, warn=warn, live=True, redact=redact)
    finally:
        if display.save_as is not None and display.result is not None:
            writer.as_json(display.save_as).write(*redact.apply(display.result))
            warn(f"saved as {display.save_as}")
    if isinstance(display.failure, termios.error):
        raise ConfigError(f"the terminal cannot be set up for top ({display.failure}): use `fleettrace run`")
    if display.failure is not None:
        raise display.failure
    return exit_code(result, options.min_ok)


def live_view(pattern: str, redact: Redaction) -> LiveView:
    """Return a view that shows keys as the redaction allows."""
    return LiveView(pattern, rename=redact.rename, names=redact.shows_names, learn=redact.learn)
