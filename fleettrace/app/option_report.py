"""The options that decide what a report shows, in which format, and where it goes."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.app.option_model import Form, Group, Option, switch
from fleettrace.app.option_values import Choice, count, regex

__all__ = [
    "FORMATS",
    "NAMES",
    "NO_COLOR",
    "OUT",
    "OUTPUT",
    "PROMETHEUS_KEYS",
    "REDACTIONS",
    "REPORT",
    "RESOLVE",
    "SORTS",
    "TABLE_OR_JSON",
    "TOP",
]

# The names of `report.formats.Output`, `report.redact.Redact` and `report.items.Sort`: to import those would double the
# time of `--help` (tests/cli/test_main.py).
FORMATS = ("table", "json", "csv", "prometheus", "markdown", "html")
REDACTIONS = ("hash", "template", "drop")
SORTS = ("requests", "rate", "bytes", "misses")

TOP = Option("--top", Group.REPORT, "Number of keys to report.", count, "20", "N")
OUT = Option(
    "--out", Group.REPORT, "Write the report to FILE, atomically, instead of stdout.", metavar="FILE", short="-o"
)
NO_COLOR = switch("--no-color", Group.REPORT, "Disable color (as the variable NO_COLOR does).")
OUTPUT = Option(
    "--output", Group.REPORT, f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}.", Choice(*FORMATS), "table", "FORMAT"
)
TABLE_OR_JSON = replace(OUTPUT, read=Choice("table", "json"), help="table or json.")
SORT = Option(
    "--sort",
    Group.REPORT,
    "Order of the keys: requests, rate (the same order), bytes (sent, estimated), or misses.",
    Choice(*SORTS),
    SORTS[0],
    "ORDER",
)
PROMETHEUS_KEYS = switch("--prometheus-keys", Group.REPORT, "Include the keys as labels in --output prometheus.")
REPORT = (
    TOP,
    SORT,
    OUTPUT,
    OUT,
    Option("--html", Group.REPORT, "Write the report to FILE as an HTML page too.", metavar="FILE"),
    switch("--hosts-detail", Group.REPORT, "List memcached's own counters of every host in --output table."),
    PROMETHEUS_KEYS,
    NO_COLOR,
)
NAMES = (
    Option(
        "--template",
        Group.REPORT,
        "Family of keys: the groups of REGEX vary. Takes precedence over the families found; repeatable.",
        regex,
        None,
        "REGEX",
        form=Form.LIST,
    ),
    Option(
        "--redact",
        Group.REPORT,
        "Replace keys by pseudonyms (hash), replace only their varying parts (template), or leave them out (drop).",
        Choice(*REDACTIONS),
        form=Form.OPTIONAL,
    ),
    Option(
        "--redact-key-file",
        Group.REPORT,
        "Secret of the pseudonyms (else the variable FLEETTRACE_REDACT_KEY).",
        metavar="FILE",
    ),
)
RESOLVE = switch("--resolve", Group.REPORT, "Show clients by name, as reverse DNS has it.")
