"""Replace keys, and addresses of clients, by pseudonyms before they are stored or shown.

A pseudonym is a keyed hash (HMAC-SHA-256) of a name: equal on every host and in every run with the same secret, so
results still merge and compare, and not reversible without the secret. Mode `template` keeps the constant parts of a
family, which show the purpose of a key without the ids in it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from fleettrace.errors import ConfigError
from fleettrace.summary.clients import UNIX
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult

if TYPE_CHECKING:
    from fleettrace.report.templates import Templates

__all__ = ["SECRET_MIN", "Redact", "Redactor", "redact", "redacted_patterns"]

SECRET_MIN = 16
"""The smallest length of a secret in bytes: a shorter one could be found by trying all."""

_DIGITS = 16
"""Hexadecimal digits of a pseudonym: among a million names, two are equal with a chance of 3 in 10**8."""

_FAMILIES = 200
"""The most families of the user's patterns that are found again in redacted keys."""

_PART = re.compile(r"\{\{|\}\}|\{\}|\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([nrt\\]))|[^{}\\]+")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Redact(StrEnum):
    """The kinds of redaction."""

    HASH = "hash"
    """A pseudonym replaces the whole key."""
    TEMPLATE = "template"
    """Pseudonyms replace the variable parts of a family, and keys without a family."""
    DROP = "drop"
    """Keys and clients are removed; only hosts and totals remain."""


def redact(run: RunResult, how: Redact, secret: bytes, patterns: tuple[re.Pattern[bytes], ...] = ()) -> RunResult:
    """Return a redacted copy of `run`. Raises `ConfigError` when `secret` is too short."""
    if how is Redact.DROP:
        hosts = [
            replace(
                host,
                top=[],
                items={},
                clients=None,
                instances=[replace(instance, absent=None) for instance in host.instances],
            )
            for host in run.hosts
        ]
        return replace(run, hosts=hosts, fleet=run.fleet.nameless())
    families = None
    if how is Redact.TEMPLATE:
        counts = ((key.data, known.count) for key, known in run.fleet.keys.items() if not key.truncated)
        from fleettrace.report.templates import Templates

        families = Templates.learn({data: count.requests for data, count in counts if count is not None}, patterns)
    redactor = Redactor(secret, families)
    rename = redactor.key
    hosts = [
        replace(
            host,
            top=[(rename(key), requests) for key, requests in host.top],
            items={rename(key): facts for key, facts in host.items.items()},
            clients=None if host.clients is None else host.clients.renamed(rename, redactor.client),
        )
        for host in run.hosts
    ]
    return replace(run, hosts=hosts, fleet=run.fleet.renamed(rename))


def redacted_patterns(run: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> tuple[re.Pattern[bytes], ...]:
    """Return patterns that find the families of the user's `patterns` in the redacted keys of `run`.

    The original patterns may not match, because pseudonyms replace the variable parts."""
    counts = {key.data: 1 for key in run.fleet.keys if not key.truncated}
    from fleettrace.report.templates import Templates

    families = Templates(patterns, {}).tally(counts)[:_FAMILIES] if patterns else []
    matchers = [matcher for family in families if (matcher := _matcher(family.pattern)) is not None]
    return tuple(re.compile(rb"\A%b\Z" % matcher.pattern, re.DOTALL) for matcher in matchers)


class Redactor:
    """Creates pseudonyms with one secret; with `families`, only for the variable parts of keys."""

    def __init__(self, secret: bytes, families: Templates | None = None) -> None:
        if len(secret) < SECRET_MIN:
            raise ConfigError(
                f"the secret for --redact has {len(secret)} bytes, fewer than {SECRET_MIN}: "
                "create one with `openssl rand -hex 32`"
            )
        self._hmac = hmac.new(secret, digestmod="sha256")
        self._families = families
        self._matchers: dict[str, re.Pattern[bytes] | None] = {}

    def key(self, key: Key) -> Key:
        """Return the key's pseudonym. The one of a truncated key is marked as truncated."""
        if key.truncated:
            data = self._pseudonym(b"cut:%d:%b" % (key.length, key.data))
            return Key(data, len(data) + 1)
        family = None if self._families is None else self._families.of(key.data)
        matcher = None if family is None else self._matcher(family)
        found = None if matcher is None else matcher.fullmatch(key.data)
        return Key.whole(self._pseudonym(key.data) if found is None else self._keep_constants(key.data, found))

    def client(self, client: str) -> str:
        """Return the pseudonym of a client's address, which no key has."""
        return client if client == UNIX else self._pseudonym(b"client:" + client.encode()).decode()

    def _pseudonym(self, name: bytes) -> bytes:
        keyed = self._hmac.copy()
        keyed.update(name)
        return keyed.hexdigest()[:_DIGITS].encode()

    def _keep_constants(self, data: bytes, found: re.Match[bytes]) -> bytes:
        """Return the key with a pseudonym for each of the groups."""
        parts, at = [], 0
        for group in range(1, found.re.groups + 1):
            parts += [data[at : found.start(group)], self._pseudonym(found[group])]
            at = found.end(group)
        return b"".join([*parts, data[at:]])

    def _matcher(self, family: str) -> re.Pattern[bytes] | None:
        if family not in self._matchers:
            self._matchers[family] = _matcher(family)
        return self._matchers[family]


def _matcher(family: str) -> re.Pattern[bytes] | None:
    """Return a pattern for the keys of a template, with a group for each variable part; None for a user's pattern."""
    if family.startswith("~"):
        return None
    source = [_piece(found) for found in _PART.finditer(family)]
    return re.compile(b"".join(source), re.DOTALL)


def _piece(found: re.Match[str]) -> bytes:
    byte, short, long, named = found.groups()
    match found[0]:
        case "{}":
            return b"(.+?)"
        case "{{" | "}}":
            return re.escape(found[0][:1].encode())
    if byte is not None:
        return re.escape(bytes([int(byte, 16)]))
    if short is not None or long is not None:
        return re.escape(chr(int(short or long, 16)).encode())
    return re.escape((_NAMED[named] if named is not None else found[0]).encode())
