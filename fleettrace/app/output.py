"""Where a report goes: to stdout, or to a file that is replaced atomically."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace.app.options import ReportOptions, RunOptions
from fleettrace.atomic_file import write_atomically
from fleettrace.errors import ConfigError, write_error
from fleettrace.report.escape import escape_text
from fleettrace.report.formats import Output
from fleettrace.report.interface import FormatOptions
from fleettrace.report.items import Sort
from fleettrace.text_format import color_allowed

if TYPE_CHECKING:
    from fleettrace.report.model import Report
    from fleettrace.summary.run import RunResult

__all__ = [
    "ReportWriter",
    "check_writable",
    "colored",
    "report_writer",
    "warn_on_stderr",
    "write_file",
    "write_file_or_stdout",
]


@dataclass(frozen=True, slots=True)
class ReportWriter:
    """Writes reports as the options request; checked before a sweep starts."""

    output: Output
    out: str | None
    html: str | None
    top: int
    prometheus_keys: bool
    color: bool
    sort: Sort = Sort.REQUESTS
    hosts_detail: bool = False

    def write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]] = ()) -> None:
        """Write the report of `result` in every requested format. `patterns` are the user's families of keys.

        Raises `ConfigError`.
        """
        from fleettrace.report.build import build_report

        self.show(build_report(result, top=self.top, patterns=patterns, sort=self.sort))

    def as_json(self, path: Path) -> ReportWriter:
        """Return a writer of the same report as JSON to a file."""
        return replace(self, output=Output.JSON, out=str(path), html=None, prometheus_keys=False)

    def show(self, report: Report) -> None:
        """Write a finished report. Raises `ConfigError`."""
        # The table on stdout takes the terminal's encoding; the other formats are UTF-8 by definition.
        to_people = self.out is None and self.output is Output.TABLE
        encoding = sys.stdout.encoding or "ascii" if to_people else "utf-8"
        try:
            # Keys can be private. Metrics without keys are for a collector that runs as another user.
            private = self.output is not Output.PROMETHEUS or self.prometheus_keys
            write_file_or_stdout(
                self.out, _text(report, self.output, self._options(encoding)), encoding, private=private
            )
        finally:
            if self.html is not None:
                write_file(Path(self.html), _text(report, Output.HTML, FormatOptions()), private=True)

    def _options(self, encoding: str) -> FormatOptions:
        to_terminal = self.out is None and sys.stdout.isatty()
        return FormatOptions(
            width=shutil.get_terminal_size().columns if to_terminal else None,
            color=to_terminal and self.color,
            unicode=encoding.lower().replace("-", "") == "utf8",
            prometheus_keys=self.prometheus_keys,
            hosts_detail=self.hosts_detail,
        )


def report_writer(options: ReportOptions) -> ReportWriter:
    """Return the writer that the options request. Raises `ConfigError` for options that conflict, and for files that
    cannot be written."""
    output, out, html = Output(options.output), options.out, options.html
    check_writable(out)
    check_writable(html)
    if html is not None and out is not None and Path(html).absolute() == Path(out).absolute():
        raise ConfigError(f"-o and --html both name {html}: one would replace the other")
    if options.prometheus_keys and output is not Output.PROMETHEUS:
        raise ConfigError(f"--prometheus-keys with --output {output}: it is for --output prometheus")
    if output is Output.HTML and out is None and sys.stdout.isatty():
        raise ConfigError("--output html is a page, not for a terminal: name a file with -o, or use --html FILE")
    sort = _sort(options)
    return ReportWriter(
        output, out, html, options.top, options.prometheus_keys, colored(options), sort, options.hosts_detail
    )


def _sort(options: ReportOptions) -> Sort:
    """Return the order of the keys. Raises `ConfigError` for one that the run will know nothing about."""
    sort = Sort(options.sort)
    if isinstance(options, RunOptions):
        if sort is Sort.MISSES and not options.misses:
            raise ConfigError("--sort misses without --misses: no miss is counted; add --misses")
        if sort is Sort.BYTES and options.no_ask and not options.sizes:
            raise ConfigError("--sort bytes with --no-ask: no size is known; leave --no-ask out, or add --sizes")
    return sort


def colored(options: ReportOptions) -> bool:
    """Whether color is allowed: neither `--no-color` nor the variable NO_COLOR (https://no-color.org) is set."""
    return color_allowed(disabled=options.no_color)


def warn_on_stderr(message: str) -> None:
    """Print `fleettrace: message` on stderr, harmless on any terminal."""
    print(f"fleettrace: {escape_text(message)}", file=sys.stderr, flush=True)


def check_writable(path: str | None) -> None:
    """Raise `ConfigError` now, before a sweep, if a file could not be written to `path` after it."""
    if path is None:
        return
    directory = Path(path).absolute().parent
    if not directory.is_dir():
        raise ConfigError(f"cannot write {path}: no such directory {directory}")
    if not os.access(directory, os.W_OK | os.X_OK) or Path(path).is_dir():
        raise ConfigError(f"cannot write {path}: permission denied, or it is a directory")


def _text(report: Report, output: Output, options: FormatOptions) -> str:
    text = io.StringIO(newline="")
    output.formatter(options).write(report, text)
    return text.getvalue()


def write_file_or_stdout(path: str | None, text: str, encoding: str = "utf-8", *, private: bool = False) -> None:
    """Write `text` to the file (`write_file`), or to stdout in `encoding` where none is named. Raises `ConfigError`."""
    if path is not None:
        write_file(Path(path), text, private=private)
        return
    sys.stdout.flush()
    # As bytes: a stream in some other encoding would fail at the first odd name, and lines that end in CR LF change.
    sys.stdout.buffer.write(text.encode(encoding, "backslashreplace"))
    sys.stdout.flush()


def write_file(path: Path, text: str, *, private: bool = False) -> None:
    """Replace `path` by `text` in one step (`atomic_file`). A new file that is `private` gets mode 0600. Raises
    `ConfigError`."""
    try:
        write_atomically(path, text.encode(), 0o600 if private else None)
    except OSError as error:
        raise write_error(path, error) from error
