"""Name the key that is missed most, and how often it is stored: a client that misses a key usually stores it again."""

from __future__ import annotations

from collections.abc import Callable

from fleettrace.report.model import KeyRow, Report
from fleettrace.report.number_format import full_number, rate
from fleettrace.text_format import plural

__all__ = ["misses_text"]


def misses_text(report: Report, shown: Callable[[bytes], str]) -> str:
    """Return the line about the reported key with most misses; empty where none is known to be missed.

    `shown` escapes a key. Which stores follow a miss is not traced: the line has all stores of the key in the window.
    """
    missed = [row for row in report.keys if row.misses and row.ops is not None]
    if not missed:
        return ""
    row = max(missed, key=lambda each: each.misses or 0)
    stores = (row.ops or {}).get("set", 0)
    parts = [f"misses: {shown(row.key.data)} missed {_often(row, row.misses or 0)}, stored {_often(row, stores)}"]
    if row.miss_cause is not None:
        parts.append(row.miss_cause.text)
    if row.clients is not None:
        parts.append(f"asked for by {plural(len(row.clients.rows), 'known client')}")
    return ", ".join(parts)


def _often(row: KeyRow, number: int) -> str:
    """Return a part of a key's requests as a rate, or as a number where rates are unknown."""
    if row.rate is None or not row.requests:
        return f"{full_number(number)} times"
    return f"{rate(row.rate * number / row.requests)}/s"
