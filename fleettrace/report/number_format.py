"""Format numbers and times for readers: short, and never with more precision than they have."""

from __future__ import annotations

from datetime import datetime

from fleettrace.report.model import KeyRow, Spread
from fleettrace.report.timeline import Trend
from fleettrace.summary.items import NEVER
from fleettrace.text_format import utc

__all__ = [
    "bar",
    "compact",
    "full_number",
    "minute",
    "ops_mix",
    "percent",
    "rate",
    "seconds",
    "since",
    "size",
    "spread_text",
    "times",
    "ttl",
]

UNKNOWN = "?"
"""Shown for an unknown value."""

_STEPS = ("", "k", "M", "G", "T", "P", "E")
_OP_SHORT = {"get": "get", "set": "set", "delete": "del", "arith": "arith", "touch": "touch", "other": "other"}
_SPREADS = {Spread.ONE: "one host", Spread.SEVERAL: "several", Spread.EVERYWHERE: "everywhere"}


def full_number(number: int | None) -> str:
    """Format a count with all its digits: `1,234,567`."""
    return UNKNOWN if number is None else f"{number:,}"


def rate(per_second: float | None) -> str:
    """Format a rate as an integer, or with one decimal when it is small: `4,321`, `3.4`."""
    if per_second is None:
        return UNKNOWN
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


def compact(number: float | None) -> str:
    """Format a number with three or four digits: `812`, `48.4k`, `1.23M`."""
    if number is None:
        return UNKNOWN
    value, step = float(number), 0
    while value >= 999.5 and step < len(_STEPS) - 1:
        value, step = value / 1000, step + 1
    if step == 0:
        return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return f"{value:.{max(0, 2 - (value >= 9.995) - (value >= 99.95))}f}{_STEPS[step]}"


def size(byte_count: int | None) -> str:
    """Format bytes in decimal units: `97.3 MB`."""
    if byte_count is None:
        return UNKNOWN
    short = compact(byte_count)
    return f"{short[:-1]} {short[-1]}B" if short[-1].isalpha() else f"{short} B"


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share in percent; a small one is never shown as 0 %, nor one just below 1 as 100 %."""
    if share is None:
        return UNKNOWN
    smallest = 10.0**-digits
    value = share * 100
    if 0 < value < smallest / 2:
        return f"<{smallest:.{digits}f}%"
    if 100 - smallest / 2 <= value < 100:
        return f">{100 - smallest:.{digits}f}%"
    return f"{value:.{digits}f}%"


def times(load: float | None) -> str:
    """Format a multiple of the mean: `2.40x`."""
    return UNKNOWN if load is None else f"{load:.2f}x"


def seconds(span: float | None) -> str:
    """Format a time span: `10.0 s`."""
    return UNKNOWN if span is None else f"{span:.1f} s"


def ttl(span_s: int | None) -> str:
    """Format a time to live in its largest unit of which it has ten or more: `never`, `42s`, `10m`, `24h`, `30d`."""
    if span_s is None:
        return UNKNOWN
    if span_s == NEVER:
        return "never"
    for unit, unit_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if span_s >= 10 * unit_s:
            return f"{span_s // unit_s}{unit}"
    return f"{span_s}s"


def minute(time: datetime) -> str:
    """Format a time with seconds, in UTC."""
    return utc(time).strftime("%Y-%m-%d %H:%M:%S UTC")


def since(trend: Trend | None, *, short: bool = False) -> str:
    """Format a trend and its start: `late, from 7 s`, `burst at 4 s`; `short`: `late 7s`."""
    if trend is None:
        return ""
    if short:
        return f"{trend.kind.value} {trend.at_s:g}s"
    return f"{trend.kind.value}{', from' if trend.kind.value == 'late' else ' at'} {trend.at_s:g} s"


def ops_mix(ops: dict[str, int] | None, most: int | None = None) -> str:
    """Format the kinds of request, the most frequent first and at `most` that many: `get 99% set 1%`."""
    if ops is None:
        return UNKNOWN
    total = sum(ops.values())
    if not total:
        return ""
    known = sorted(((count, op) for op, count in ops.items() if count), key=lambda item: (-item[0], item[1]))
    return " ".join(f"{_OP_SHORT.get(op, op)} {percent(count / total, 0)}" for count, op in known[:most])


def spread_text(row: KeyRow) -> str:
    """Format the spread of a key."""
    return f"{row.hosts} hosts" if row.spread is Spread.SEVERAL else _SPREADS[row.spread]


def bar(load: float, highest: float, cells: int, *, ascii_only: bool = False) -> tuple[str, str, str]:
    """Return a bar of a load in `cells` cells, in three parts: up to the mean, beyond it, and the rest.

    `highest` is the load that fills the bar. If the bar ends below the mean, the rest marks the mean.
    """
    below, above, mean_mark = ("#", "+", "|") if ascii_only else ("█", "▓", "│")
    scale = cells / max(highest, 1.0)
    filled, mean = round(load * scale), round(scale)
    if filled >= mean:
        return below * mean, above * (filled - mean), " " * (cells - filled)
    gap = max(mean - filled - 1, 0)
    return below * filled, "", (" " * gap + mean_mark).ljust(cells - filled)
