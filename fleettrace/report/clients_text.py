"""The clients of a key or a host as text."""

from __future__ import annotations

from fleettrace.report.clients import Clients
from fleettrace.report.escape import escape_text
from fleettrace.report.number_format import percent
from fleettrace.text_format import plural

__all__ = ["PROXY", "proxy_remark", "shown_clients"]

PROXY = "perhaps a proxy or NAT"
"""The remark on a client with nearly all requests."""


def shown_clients(clients: Clients, most: int) -> str:
    """Return the `most` first clients with their shares as escaped text, and what becomes of the rest."""
    parts = [f"{escape_text(client)} {percent(clients.share(number))}" for client, number in clients.rows[:most]]
    rest = clients.rows[most:]
    if others := sum(number for _, number in rest) + clients.others:
        named = "others" if clients.others else plural(len(rest), "other")
        parts.append(f"{named} {percent(clients.share(others))}")
    if clients.unknown:
        parts.append(f"unknown {percent(clients.share(clients.unknown))}")
    return ", ".join(parts) or "none"


def proxy_remark(clients: Clients) -> str:
    """Return what a client with nearly all requests resembles; empty without one."""
    return PROXY if clients.proxy is not None else ""
