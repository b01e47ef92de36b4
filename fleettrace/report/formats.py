"""The list of report formats: one member of `Output` and one module each."""

from __future__ import annotations

from enum import StrEnum

from fleettrace.report.interface import FormatOptions, Formatter

__all__ = ["Output"]


class Output(StrEnum):
    """The formats. Each member builds its formatter, and imports it only then."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PROMETHEUS = "prometheus"
    MARKDOWN = "markdown"
    HTML = "html"

    def formatter(self, options: FormatOptions | None = None) -> Formatter:
        """Return the formatter of this format."""
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
