"""The requests of a host by client, and those for its hot keys: what `--clients` adds to its result. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import nsmallest

from fleettrace.summary.key import Key

__all__ = ["MOST_CLIENTS", "MOST_PAIRS", "HostClients"]

MOST_CLIENTS = 100
"""Clients in the result of a host, the ones with the most requests."""
MOST_PAIRS = 2000
"""Pairs of a key and a client in the result of a host, the ones with the most requests."""


@dataclass(slots=True)
class HostClients:
    """Requests by client. What is missing from `requests` are requests of unknown clients, or of clients with few."""

    requests: int = 0
    """Every request of the processes."""
    known: int = 0
    """Those of known clients, whether listed or not."""
    clients: dict[str, int] = field(default_factory=dict)
    keys: dict[Key, dict[str, int]] = field(default_factory=dict)
    """For some keys, by client: lower bounds."""

    def add_client(self, client: str, requests: int) -> None:
        """Add requests of a client."""
        self.known += requests
        self.clients[client] = self.clients.get(client, 0) + requests

    def add_pair(self, key: Key, client: str, requests: int) -> None:
        """Add requests of a client for a key."""
        of_key = self.keys.setdefault(key, {})
        of_key[client] = of_key.get(client, 0) + requests

    def add(self, other: HostClients) -> None:
        """Add the requests of another process."""
        self.requests += other.requests
        self.known += other.known
        for client, requests in other.clients.items():
            self.clients[client] = self.clients.get(client, 0) + requests
        for key, of_key in other.keys.items():
            for client, requests in of_key.items():
                self.add_pair(key, client, requests)

    def bounded(self, keys: Iterable[Key]) -> HostClients:
        """Return the busiest clients, and the most requested pairs of these keys."""
        busiest = nsmallest(MOST_CLIENTS, self.clients.items(), key=lambda row: (-row[1], row[0]))
        pairs = ((key, client, requests) for key in keys for client, requests in self.keys.get(key, {}).items())
        result = HostClients(self.requests, self.known, dict(busiest))
        for key, client, requests in nsmallest(MOST_PAIRS, pairs, key=lambda pair: (-pair[2], pair[0], pair[1])):
            result.add_pair(key, client, requests)
        return result

    def renamed(self, key: Callable[[Key], Key], client: Callable[[str], str]) -> HostClients:
        """Return the same requests under other names."""
        result = HostClients(self.requests, self.known, {client(name): number for name, number in self.clients.items()})
        for each, of_key in self.keys.items():
            for name, requests in of_key.items():
                result.add_pair(key(each), client(name), requests)
        return result
