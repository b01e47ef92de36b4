"""Writing a report where it is wanted: to stdout, or to a file that is never half there."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.report.build import build_report
from fleettrace.report.interface import FormatOptions, Output
from fleettrace.summary.run import RunResult

__all__ = ["check_writable", "write_file", "write_file_or_stdout", "write_report"]


def check_writable(path: str | None) -> None:
    """Raise `ConfigError` now if a report could not be written to `path` later, after the sweep was paid for."""
    if path is None:
        return
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK) or Path(path).is_dir():
        raise ConfigError(f"cannot write {path}: check its permissions and that it is no folder")


def write_report(arguments: argparse.Namespace, result: RunResult) -> None:
    """Write the report of `result` as the options ask."""
    report = build_report(result, top=arguments.top)
    to_terminal = arguments.out is None and sys.stdout.isatty()
    encoding = (sys.stdout.encoding or "ascii").lower() if arguments.out is None else "utf-8"
    formatter = Output(arguments.output).formatter(
        FormatOptions(
            width=shutil.get_terminal_size().columns if to_terminal else None,
            colour=to_terminal and not arguments.no_color and not os.environ.get("NO_COLOR"),
            unicode=encoding.replace("-", "") == "utf8",
        )
    )
    text = io.StringIO()
    formatter.write(report, text)
    write_file_or_stdout(arguments.out, text.getvalue())


def write_file_or_stdout(path: str | None, text: str) -> None:
    """Write `text` to the file, or to stdout where none is named. Raises `ConfigError`."""
    if path is not None:
        write_file(Path(path), text)
        return
    sys.stdout.write(text)
    sys.stdout.flush()


def write_file(path: Path, text: str) -> None:
    """Put `text` at `path` in one step: readers see the old file or the new one. Raises `ConfigError`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, "utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
