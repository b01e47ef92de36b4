"""What the commands print on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleettrace.app.output import colored, warn_on_stderr
from fleettrace.tui.progress import progress

if TYPE_CHECKING:
    from fleettrace.app.options import ReportOptions
    from fleettrace.tui.progress import Subscriber

__all__ = ["progress_of", "warn"]

warn = warn_on_stderr


def progress_of(options: ReportOptions) -> Subscriber:
    """Return the subscriber that prints progress; with `--quiet`, a line for each failure at the end."""
    return progress(quiet=options.quiet, verbose=options.verbose > 0, color=colored(options))
