"""Keys replaced by pseudonyms, before anything is stored or shown.

A pseudonym is a keyed hash (HMAC-SHA-256) of a name: the same on every host and in every run with the same secret, so
that results still merge and compare, and not to be guessed back without it. Family by family the constant parts of the
names may be kept, which tells what a key is for without telling whose it is.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from fleettrace.errors import ConfigError
from fleettrace.report.templates import Templates
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult

__all__ = ["SECRET_MIN", "Redact", "Redactor", "kept_families", "redact"]

SECRET_MIN = 16
"""Bytes in the shortest secret that is taken: a shorter one can be tried out."""

_DIGITS = 16
"""Hexadecimal digits of a pseudonym: of a million names two are the same with a chance of 3 in 10**8."""

_FAMILIES = 200
"""Families of the user's own that are found again in redacted keys."""

_PART = re.compile(r"\{\{|\}\}|\{\}|\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([nrt\\]))|[^{}\\]+")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Redact(StrEnum):
    """How much of a key's name is kept."""

    HASH = "hash"
    """Nothing: a pseudonym stands for the whole key."""
    TEMPLATE = "template"
    """The constant parts of its family; pseudonyms stand for the parts that vary, and for keys of no family."""
    DROP = "drop"
    """Not even that there is a key: only hosts and totals are left."""


def redact(run: RunResult, how: Redact, secret: bytes, patterns: tuple[re.Pattern[bytes], ...] = ()) -> RunResult:
    """The run with no key's name in it; `run` itself stays as it is. Raises ConfigError when `secret` is too short."""
    if how is Redact.DROP:
        hosts = [
            replace(host, top=[], instances=[replace(instance, absent=None) for instance in host.instances])
            for host in run.hosts
        ]
        return replace(run, hosts=hosts, fleet=run.fleet.nameless())
    families = None
    if how is Redact.TEMPLATE:
        counts = ((key.data, known.count) for key, known in run.fleet.keys.items() if not key.truncated)
        families = Templates.learn({data: count.requests for data, count in counts if count is not None}, patterns)
    rename = Redactor(secret, families).key
    hosts = [replace(host, top=[(rename(key), requests) for key, requests in host.top]) for host in run.hosts]
    return replace(run, hosts=hosts, fleet=run.fleet.renamed(rename))


def kept_families(run: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> tuple[re.Pattern[bytes], ...]:
    """The families that the user's `patterns` make of the keys of `run`, as patterns that find them again when the run
    was redacted family by family: what a pattern says of the parts that vary need not hold for their pseudonyms."""
    counts = {key.data: 1 for key in run.fleet.keys if not key.truncated}
    families = Templates(patterns, {}).tally(counts)[:_FAMILIES] if patterns else []
    matchers = [matcher for family in families if (matcher := _matcher(family.pattern)) is not None]
    return tuple(re.compile(rb"\A%b\Z" % matcher.pattern, re.DOTALL) for matcher in matchers)


class Redactor:
    """Pseudonyms under one secret; with `families`, in place of the parts that vary only."""

    def __init__(self, secret: bytes, families: Templates | None = None) -> None:
        if len(secret) < SECRET_MIN:
            raise ConfigError(
                f"the secret for --redact has {len(secret)} bytes, at least {SECRET_MIN} are needed: "
                "make one with `openssl rand -hex 32`"
            )
        self._hmac = hmac.new(secret, digestmod="sha256")
        self._families = families
        self._matchers: dict[str, re.Pattern[bytes] | None] = {}

    def key(self, key: Key) -> Key:
        """The key's pseudonym. One that was cut stays marked as cut."""
        if key.truncated:
            data = self._pseudonym(b"cut:%d:%b" % (key.length, key.data))
            return Key(data, len(data) + 1)
        family = None if self._families is None else self._families.of(key.data)
        matcher = None if family is None else self._matcher(family)
        found = None if matcher is None else matcher.fullmatch(key.data)
        return Key.whole(self._pseudonym(key.data) if found is None else self._kept(key.data, found))

    def _pseudonym(self, name: bytes) -> bytes:
        keyed = self._hmac.copy()
        keyed.update(name)
        return keyed.hexdigest()[:_DIGITS].encode()

    def _kept(self, data: bytes, found: re.Match[bytes]) -> bytes:
        """The key with a pseudonym for each of the groups."""
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
    """What the keys of a template look like, a group for each part that varies; None for a user's bare pattern."""
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
