"""Writing a report where it is wanted: to stdout, or to a file that is never half there."""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace.atomic_file import write_atomically
from fleettrace.errors import ConfigError, write_error
from fleettrace.report.formats import Output
from fleettrace.report.interface import FormatOptions
from fleettrace.text_format import color_allowed

if TYPE_CHECKING:
    from fleettrace.report.model import Report
    from fleettrace.summary.run import RunResult

__all__ = ["ReportWriter", "check_writable", "report_writer", "write_file", "write_file_or_stdout"]


@dataclass(frozen=True, slots=True)
class ReportWriter:
    """How the report is wanted: checked before the sweep is paid for."""

    output: Output
    out: str | None
    html: str | None
    top: int
    prometheus_keys: bool
    color: bool

    def write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]] = ()) -> None:
        """Write the report of `result`, in every format that is wanted. `patterns` are families of the user's own.
        Raises `ConfigError`."""
        from fleettrace.report.build import build_report

        self.show(build_report(result, top=self.top, patterns=patterns))

    def show(self, report: Report) -> None:
        """Write a finished report as it is wanted. Raises `ConfigError`."""
        # Only the table is read where it is written; the other formats are UTF-8 by their definition.
        to_people = self.out is None and self.output is Output.TABLE
        encoding = sys.stdout.encoding or "ascii" if to_people else "utf-8"
        try:
            # Keys can be private. Metrics without them are for a collector that runs as somebody else.
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
        )


def report_writer(arguments: argparse.Namespace) -> ReportWriter:
    """What the options ask for. Raises `ConfigError` for what cannot be had together, or cannot be written."""
    output = Output(arguments.output)
    html = getattr(arguments, "html", None)
    keys = getattr(arguments, "prometheus_keys", False)
    check_writable(arguments.out)
    check_writable(html)
    if html is not None and arguments.out is not None and Path(html).absolute() == Path(arguments.out).absolute():
        raise ConfigError(f"-o and --html both name {html}: one would replace the other")
    if keys and output is not Output.PROMETHEUS:
        raise ConfigError(f"--prometheus-keys with --output {output}: it is for --output prometheus")
    if output is Output.HTML and arguments.out is None and sys.stdout.isatty():
        raise ConfigError("--output html is a page, not for a terminal: name a file with -o, or use --html FILE")
    color = color_allowed(disabled=arguments.no_color)
    return ReportWriter(output, arguments.out, html, arguments.top, keys, color)


def check_writable(path: str | None) -> None:
    """Raise `ConfigError` now if a report could not be written to `path` later, after the sweep was paid for."""
    if path is None:
        return
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK) or Path(path).is_dir():
        raise ConfigError(f"cannot write {path}: check its permissions and that it is no folder")


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
