"""The standard streams of the command: always open, and with one meaning for a write that fails.

Standard output holds results, so a failed write ends the command with `OutputError` (exit code 2). Standard error holds
words about them, so a failed write there changes nothing.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from fleettrace.errors import ConfigError

__all__ = ["OutputError", "open_standard_streams"]


class OutputError(ConfigError):
    """Standard output cannot be written."""


def open_standard_streams() -> None:
    """Replace `sys.stdin`, `sys.stdout` and `sys.stderr`. For the beginning of a process: no file is open yet.

    A stream that the caller closed gets /dev/null, for else the next file that is opened (a database, a socket) gets
    its number and everything that is printed. As standard output it is opened for reading, so that a write fails.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _stream(1, sys.stdout, _fail)
    sys.stderr = _stream(2, sys.stderr, _ignore)


def _stream(number: int, before: TextIO | None, failed: Callable[[OSError], None]) -> TextIO:
    raw = _Raw(number, failed)
    terminal = raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=None if before is None else before.encoding,
        # Whatever the locale, an odd name is no error.
        errors="backslashreplace",
        line_buffering=terminal or number == 2,
    )


class _Raw(io.FileIO):
    """A descriptor. After the first write that fails, what is still buffered is dropped, without another complaint."""

    def __init__(self, number: int, failed: Callable[[OSError], None]) -> None:
        super().__init__(number, "w", closefd=False)
        self._failed = failed
        self._broken = False

    def write(self, data: Any, /) -> int:
        """As `FileIO.write`; calls `failed` where that raises."""
        if not self._broken:
            try:
                return super().write(data)
            except OSError as error:
                self._broken = True
                self._failed(error)
        return len(memoryview(data).cast("B"))


def _fail(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise OutputError("standard output: its reader has gone, so the rest is not written") from None
    raise OutputError(
        f"standard output cannot be written: {error.strerror}; send it elsewhere, or name a file with -o where the "
        "command has that"
    ) from None


def _ignore(error: OSError) -> None:
    del error
