"""What a format is, and which there are: one file each in this folder, one line each in `Output`.

A format writes a finished `Report` to a stream it is given. It reads neither the clock nor the environment: all that
it may depend on comes in `FormatOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TextIO

from fleettrace.report.model import Report

__all__ = ["FormatOptions", "Formatter", "Output"]


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """Where the report will be looked at."""

    width: int | None = None
    """Columns of the terminal; None for a pipe or a file, where nothing is cut and no line is drawn."""
    color: bool = False
    unicode: bool = True
    """Whether the stream can carry more than ASCII."""
    prometheus_keys: bool = False
    """Whether keys become labels too: bounded by the report's top n, but new series with every new key."""


class Formatter(Protocol):
    """One format."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the whole report to `out`, ending in a newline. Raises OSError as `out` does."""
        ...


class Output(StrEnum):
    """The formats, each of which builds its own formatter."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PROMETHEUS = "prometheus"
    MARKDOWN = "markdown"
    HTML = "html"

    def formatter(self, options: FormatOptions | None = None) -> Formatter:
        """The formatter of this format."""
        options = FormatOptions() if options is None else options
        match self:
            case Output.TABLE:
                from fleettrace.report.table import TableFormatter

                return TableFormatter(options)
            case Output.JSON:
                from fleettrace.report.json_format import JsonFormatter

                return JsonFormatter()
            case Output.CSV:
                from fleettrace.report.csv_format import CsvFormatter

                return CsvFormatter()
            case Output.PROMETHEUS:
                from fleettrace.report.prometheus import PrometheusFormatter

                return PrometheusFormatter(keys=options.prometheus_keys)
            case Output.MARKDOWN:
                from fleettrace.report.markdown import MarkdownFormatter

                return MarkdownFormatter()
            case Output.HTML:
                from fleettrace.report.html import HtmlFormatter

                return HtmlFormatter()
