"""`fleettrace who`: one sweep that counts the requests for a few keys by client."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from ipaddress import ip_address

from fleettrace.app.check import warning_lines
from fleettrace.app.options import RunOptions
from fleettrace.app.output import check_writable, write_file_or_stdout
from fleettrace.app.redaction import Redaction
from fleettrace.app.runner import trace
from fleettrace.errors import ConfigError
from fleettrace.probes.asked import MAX_ASKED, MAX_ASKED_BYTES
from fleettrace.report.escape import escape_key, escape_text, unescape_key
from fleettrace.report.who import AskedKey, clients_of, renamed, who_json, who_lines
from fleettrace.summary.key import KEY_MAX_LENGTH
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Subscriber

__all__ = ["WhoOptions", "asked_keys", "names_of", "who"]

_RESOLVE_S = 5.0
"""Seconds for the names of all clients together."""
_RESOLVED = 200
"""Clients of which names are asked, the ones with the most requests."""
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoOptions(RunOptions):
    """The options of `fleettrace who`, without their dashes."""

    keys: tuple[str, ...] = ()
    """The asked keys, written as reports show them."""
    resolve: bool = False


def who(options: WhoOptions, *, subscriber: Subscriber, warn: Callable[[str], None]) -> RunResult:
    """Sweep the selected hosts, write which clients asked for the keys, and return the result. Raises `ConfigError`."""
    keys = asked_keys(options.keys)
    check_writable(options.out)

    def write(result: RunResult, _patterns: Sequence[re.Pattern[bytes]]) -> None:
        answers = clients_of(result, keys)
        if options.resolve:
            names = names_of(_hottest(answers))
            answers = [renamed(asked, names) for asked in answers]
        if options.output == "json":
            text = who_json(answers)
        else:
            text = "".join(f"{line}\n" for line in who_lines(answers, options.top))
        write_file_or_stdout(options.out, text, private=True)
        for line in (*_failed_hosts(result), *warning_lines(result.warnings)):
            warn(line)

    # The counts are of clients, so the run is comparable with no other one.
    own = replace(options, no_store=True)
    return trace(own, Redaction(), write, subscriber=subscriber, warn=warn, asked=keys)


def asked_keys(given: Iterable[str]) -> list[bytes]:
    """Return the keys as bytes, each once. Raises `ConfigError` for one that memcached cannot have, and for too
    many."""
    keys = list(dict.fromkeys(_key(text) for text in given))
    for key in keys:
        if not 0 < len(key) <= KEY_MAX_LENGTH:
            raise ConfigError(
                f"the key {escape_key(key[:40])!r} has {len(key)} bytes, but keys of memcached have 1 to "
                f"{KEY_MAX_LENGTH}: correct it"
            )
    if len(keys) > MAX_ASKED or sum(map(len, keys)) > MAX_ASKED_BYTES:
        raise ConfigError(
            f"{len(keys)} keys of {sum(map(len, keys))} bytes are too many for one program: ask for at most "
            f"{MAX_ASKED} keys of {MAX_ASKED_BYTES} bytes together"
        )
    return keys


def _key(text: str) -> bytes:
    """Return the key of a text that reports show, escapes included; other texts are taken literally."""
    try:
        return unescape_key(text)
    except (ValueError, UnicodeError):
        return text.encode("utf-8", "surrogateescape")


def _failed_hosts(result: RunResult) -> list[str]:
    """Return a line for each host with clients that are missing from the answer."""
    return [
        escape_text(f"{host.host}: {host.state}: {host.error.message}" if host.error else f"{host.host}: {host.state}")
        for host in result.incomplete_hosts
    ]


def _hottest(answers: Sequence[AskedKey]) -> list[str]:
    rows = sorted((row for asked in answers for row in asked.clients), key=lambda row: -row.requests)
    return list(dict.fromkeys(row.client for row in rows))[:_RESOLVED]


def _reverse_dns(address: str) -> str:
    return socket.gethostbyaddr(address)[0]


def names_of(clients: Sequence[str], lookup: Callable[[str], str] = _reverse_dns) -> dict[str, str]:
    """Return the names of addresses by reverse DNS, of those that answer within a few seconds."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    asked = {pool.submit(lookup, client): client for client in clients if _is_address(client)}
    done, _ = wait(asked, _RESOLVE_S)
    pool.shutdown(wait=False, cancel_futures=True)
    return {asked[one]: one.result() for one in done if not one.cancelled() and one.exception() is None}


def _is_address(client: str) -> bool:
    try:
        ip_address(client)
    except ValueError:
        return False
    return True
