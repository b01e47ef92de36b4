"""The clients of a report (`--clients`): those of a key over all hosts, and those of a host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from fleettrace.report.escape import escape_text
from fleettrace.summary.clients import UNIX
from fleettrace.summary.host_clients import HostClients
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult

__all__ = ["Clients", "clients_fields", "clients_of_host", "clients_of_keys", "nearly_all"]

_NEARLY_ALL = 0.9
"""The share of requests from one address that makes it resemble a proxy or NAT."""
_LISTED = 100
"""Clients of a key in a report, the ones with the most requests."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of a key, or of a host."""

    requests: int
    """All requests."""
    unknown: int
    """Those of unknown clients."""
    rows: tuple[tuple[str, int], ...]
    """Each client and its requests, most first."""
    others: int = 0
    """Requests of known clients that are not listed."""

    def share(self, requests: int) -> float:
        """Return the part of all requests, 0 to 1."""
        return requests / self.requests if self.requests else 0.0

    @property
    def proxy(self) -> str | None:
        """Return the client with nearly all requests, if there is one: it resembles a proxy or NAT."""
        first = self.rows[0] if self.rows else None
        return first[0] if first is not None and nearly_all(first[0], self.share(first[1])) else None


def nearly_all(client: str, share: float) -> bool:
    """Return whether a client with this share of the requests resembles a proxy or NAT."""
    return client != UNIX and share >= _NEARLY_ALL


def clients_of_host(host: HostResult) -> Clients | None:
    """Return the clients of a host; None if they were not counted."""
    found = host.clients
    return None if found is None else _clients(found.clients, found.requests, found.known)


def clients_of_keys(hosts: Iterable[HostResult], requests: Mapping[Key, int]) -> dict[Key, Clients]:
    """Return the clients of keys with so many requests; nothing where no host counted by client."""
    counted = [host.clients for host in hosts if host.clients is not None]
    return {key: _of_key(key, number, counted) for key, number in requests.items()} if counted else {}


def _of_key(key: Key, requests: int, hosts: Iterable[HostClients]) -> Clients:
    sums: dict[str, int] = {}
    for host in hosts:
        for client, number in host.keys.get(key, {}).items():
            sums[client] = sums.get(client, 0) + number
    return _clients(sums, requests, sum(sums.values()))


def _clients(sums: Mapping[str, int], requests: int, known: int) -> Clients:
    rows = nsmallest(_LISTED, sums.items(), key=lambda row: (-row[1], row[0]))
    # A key's requests are a lower bound, which the sum of its clients can exceed.
    every = max(requests, known)
    return Clients(every, every - known, tuple(rows), known - sum(number for _, number in rows))


def clients_fields(clients: Clients | None) -> dict[str, Any]:
    """Return the fields of the JSON report about clients; null where they were not counted."""
    if clients is None:
        return {"clients": None, "clients_others": None, "clients_unknown": None}
    return {
        "clients": [
            {"client": escape_text(client), "requests": number, "share": clients.share(number)}
            for client, number in clients.rows
        ],
        "clients_others": clients.others,
        "clients_unknown": clients.unknown,
    }
