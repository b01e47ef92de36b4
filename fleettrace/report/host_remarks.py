"""Plain sentences about a host from its stats: what it evicts and from which class, and connections that it refused."""

from __future__ import annotations

from collections.abc import Iterable

from fleettrace.report.escape import escape_text
from fleettrace.report.model import HostRow
from fleettrace.report.number_format import percent, rate
from fleettrace.summary.host_totals import Evicting, HostTotals, host_totals

__all__ = ["eviction_remark", "host_remarks", "worst_remarks"]

_LEAST_EVICTIONS = 1.0
"""Evictions per second from which a host has a remark."""
_NEARLY_ALL = 0.95
_MOSTLY = 0.5


def host_remarks(row: HostRow, totals: HostTotals | None = None) -> list[str]:
    """Return the sentences about one host, escaped for a terminal."""
    known = host_totals(row.instances) if totals is None else totals
    remarks = []
    if known.evictions is not None and known.evictions >= _LEAST_EVICTIONS:
        remarks.append(eviction_remark(row, known))
    if known.refused:
        most = "" if known.max_connections is None else f" of {known.max_connections:,}"
        times = "once" if known.refused == 1 else f"{known.refused:,} times"
        remarks.append(f"{escape_text(row.host)} reached its limit{most} connections {times} in the window")
    return remarks


def eviction_remark(row: HostRow, totals: HostTotals) -> str:
    """Return how much a host evicts, and from which class."""
    evicting = totals.evicting
    source = "" if evicting is None else f", {_from_class(row, evicting)}"
    return f"{escape_text(row.host)} evicts {rate(totals.evictions)} items/s{source}"


def _from_class(row: HostRow, evicting: Evicting) -> str:
    one, ports = evicting.evicting_class, evicting.instance.ports
    part = "nearly all" if one.share >= _NEARLY_ALL else "mostly" if one.share >= _MOSTLY else percent(one.share, 0)
    where = f" of port {ports[0]}" if len(row.instances) > 1 and ports else ""
    items = "" if one.chunk_size is None else f" (items of about {_about(one.chunk_size)})"
    return f"{part} from class {one.number}{where}{items}"


def _about(chunk_size: int) -> str:
    """Return the size of a class's items with two digits: they are up to a fifth smaller than its chunks."""
    rounded = float(f"{chunk_size:.2g}")
    return f"{rounded:g} B" if rounded < 1000 else f"{rounded / 1000:g} kB"


def worst_remarks(rows: Iterable[HostRow], most: int) -> tuple[list[str], int]:
    """Return the sentences about at most `most` hosts, those that evict most first, and how many hosts have more."""
    known = [(row, host_totals(row.instances)) for row in rows if row.instances]
    known.sort(key=lambda item: (-(item[1].evictions or 0.0), -(item[1].refused or 0), item[0].host))
    found = [remarks for row, totals in known if (remarks := host_remarks(row, totals))]
    return [remark for remarks in found[:most] for remark in remarks], max(0, len(found) - most)
