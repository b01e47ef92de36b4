"""The interface of a report format.

A formatter writes a finished `Report` to a stream. Its output depends only on the report and on `FormatOptions`, not on
the clock or the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from fleettrace.report.model import Report

__all__ = ["FormatOptions", "Formatter"]


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """Properties of the output stream."""

    width: int | None = None
    """Columns of the terminal; None for a pipe or a file, where nothing is shortened."""
    color: bool = False
    unicode: bool = True
    """Whether the stream can encode more than ASCII."""
    prometheus_keys: bool = False
    """Whether keys become labels: at most the top n of a report, but every new key is a new series."""
    hosts_detail: bool = False
    """Whether the table lists memcached's own counters of every host."""


class Formatter(Protocol):
    """One format."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the report to `out`, with a newline at the end. Raises `OSError` as `out` does."""
        ...
