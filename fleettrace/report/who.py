"""The answer to "which clients ask for these keys": a value, and its forms as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.host_folding import fold
from fleettrace.report.json_format import key_fields
from fleettrace.report.number_format import full_number, percent
from fleettrace.summary.clients import UNIX, ClientKey
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult
from fleettrace.text_format import plural

__all__ = ["AskedKey", "ClientRow", "clients_of", "renamed", "who_json", "who_lines"]

SCHEMA = "fleettrace/who/1"
_NEARLY_ALL = 0.9
"""The share of requests from one address that makes it resemble a proxy or NAT."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One client of one key."""

    client: str
    requests: int
    hosts: tuple[str, ...]
    """The hosts on which it asked, in the run's order."""
    address: str | None = None
    """The address, where `client` is a name."""


@dataclass(frozen=True, slots=True)
class AskedKey:
    """One asked key. `requests` is the sum over clients and `unknown`."""

    key: bytes
    requests: int
    unknown: int
    clients: tuple[ClientRow, ...]
    """Most requests first."""

    def share(self, row: ClientRow) -> float:
        """Return the client's part of all requests for the key."""
        return row.requests / self.requests

    @property
    def remark(self) -> str | None:
        """Return what one client with nearly all requests resembles, as a sentence; else None."""
        first = self.clients[0] if self.clients else None
        if first is None or first.client == UNIX or self.share(first) < _NEARLY_ALL:
            return None
        return (
            f"{first.client} makes {percent(self.share(first))} of the requests for {escape_key(self.key)}: if many "
            "clients use the key, it is a proxy or NAT in front of them"
        )


def clients_of(result: RunResult, keys: Sequence[bytes]) -> list[AskedKey]:
    """Return the clients of each key, from the result of a sweep that asked for these keys."""
    every = [0] * len(keys)
    rows: list[dict[str, tuple[int, list[str]]]] = [{} for _ in keys]
    for host in result.hosts:
        for key, requests in host.top:
            counted = ClientKey.read(key)
            if counted.every:
                every[counted.number - 1] += requests
            elif counted.client is not None:
                known, hosts = rows[counted.number - 1].get(counted.client, (0, []))
                rows[counted.number - 1][counted.client] = (known + requests, [*hosts, host.host])
    return [_asked(*each) for each in zip(keys, every, rows, strict=True)]


def _asked(key: bytes, every: int, rows: Mapping[str, tuple[int, Sequence[str]]]) -> AskedKey:
    clients = [ClientRow(client, requests, tuple(hosts)) for client, (requests, hosts) in rows.items()]
    return _ordered(key, every, clients)


def _ordered(key: bytes, every: int, clients: Sequence[ClientRow]) -> AskedKey:
    known = sum(row.requests for row in clients)
    ordered = tuple(sorted(clients, key=lambda row: (-row.requests, row.client)))
    # An interrupted slice may lack the entry of the total.
    requests = max(every, known)
    return AskedKey(key, requests, requests - known, ordered)


def renamed(asked: AskedKey, names: Mapping[str, str]) -> AskedKey:
    """Return the answer with a name in place of each address in `names`; addresses of one name become one client."""
    rows: dict[str, ClientRow] = {}
    for row in asked.clients:
        name = names.get(row.client, row.client)
        known = rows.get(name)
        if known is None:
            rows[name] = replace(row, client=name, address=None if name == row.client else row.client)
            continue
        hosts = tuple(dict.fromkeys((*known.hosts, *row.hosts)))
        rows[name] = replace(known, requests=known.requests + row.requests, hosts=hosts, address=None)
    return _ordered(asked.key, asked.requests, list(rows.values()))


def who_json(answers: Sequence[AskedKey]) -> str:
    """Return the answer as the JSON document `fleettrace/who/1`."""
    return json.dumps({"schema": SCHEMA, "keys": [_document(asked) for asked in answers]}, indent=2) + "\n"


def _document(asked: AskedKey) -> dict[str, Any]:
    return {
        **{name: value for name, value in key_fields(Key.whole(asked.key)).items() if name != "truncated"},
        "requests": asked.requests,
        "unknown": asked.unknown,
        "clients": [
            {
                "client": escape_text(row.client),
                "requests": row.requests,
                "share": round(asked.share(row), 6),
                "hosts": list(row.hosts),
            }
            for row in asked.clients
        ],
    }


def who_lines(answers: Sequence[AskedKey], top: int) -> Iterator[str]:
    """Yield the answer as lines: for each key its `top` clients, the rest as a sum, and the unknown ones."""
    for number, asked in enumerate(answers):
        if number:
            yield ""
        yield f"{escape_key(asked.key)}  {plural(asked.requests, 'request')}, {plural(len(asked.clients), 'client')}"
        shown = [
            (escape_text(_named(row)), row.requests, escape_text(fold(list(row.hosts)))) for row in asked.clients[:top]
        ]
        if rest := asked.clients[top:]:
            shown.append((f"{plural(len(rest), 'other client')}", sum(row.requests for row in rest), ""))
        if asked.unknown:
            shown.append(("unknown", asked.unknown, ""))
        width = max((len(name) for name, _, _ in shown), default=0)
        digits = max((len(full_number(requests)) for _, requests, _ in shown), default=0)
        for name, requests, hosts in shown:
            share = percent(requests / asked.requests)
            yield f"  {name:<{width}}  {full_number(requests):>{digits}}  {share:>6}  {hosts}".rstrip()
        if asked.remark is not None:
            yield f"  {escape_text(asked.remark)}"


def _named(row: ClientRow) -> str:
    return row.client if row.address is None else f"{row.client} ({row.address})"
