"""Select hosts by Ansible's host patterns, such as `web:&prod:!~^old,db[0:2]`.

A pattern is a list of parts joined by `,` (or, older, by `:`). A part is a host's name, a group's name, a glob over
both, or `~` and a regular expression. A subscript (`web[0]`, `web[-1]`, `web[0:9]`, `web[1:]`) selects some of the
hosts that the part matches, both ends included. Whatever the order of the parts, the union of the plain parts is taken
first, then every `&` part intersects, then every `!` part excludes. The order of the hosts is Ansible's.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.inventory.addresses import LOCALHOST_NAMES, split_address
from fleettrace.inventory.model import Host, Inventory, Layer, Origin

__all__ = ["Selection", "select", "split_pattern"]

_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]")
# In a pattern without a comma: bracketed expressions, and any letters but blanks, colons and brackets.
_COLON_PARTS = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_GLOB_LETTERS = frozenset(".?*[")


@dataclass(frozen=True, slots=True)
class Selection:
    """The hosts that a pattern selects, in Ansible's order, and one line for each part of it that matched nothing."""

    hosts: tuple[Host, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """How the inventory was read, for who asks for details."""


def split_pattern(pattern: str) -> list[str]:
    """Split `pattern` into its parts. A colon in an address, a range or a subscript does not separate parts."""
    if "," in pattern:
        parts = pattern.split(",")
    elif split_address(pattern):
        parts = [pattern]
    else:
        parts = _COLON_PARTS.findall(pattern)
    return [part.strip() for part in parts if part.strip()]


def select(inventory: Inventory, pattern: str = "all", limit: str | None = None) -> Selection:
    """Return the hosts that `pattern` and `limit` both select. `limit` may name `@FILE`, with a pattern on each line.

    Raises `ConfigError` if that is no host at all, or a part is malformed.
    """
    matcher = _Matcher(inventory)
    parts = split_pattern(pattern)
    if not parts:
        raise ConfigError("the host pattern is empty: write 'all' for every host")
    hosts = matcher.evaluate(parts)
    if not hosts:
        raise ConfigError(f"the host pattern {pattern!r} selects no host{matcher.suggestion(parts)}")
    if limit is not None:
        before = len(hosts)
        limit_parts = _limit_parts(limit)
        within_limit = {host.name for host in matcher.evaluate(limit_parts)}
        hosts = [host for host in hosts if host.name in within_limit]
        if not hosts:
            cure = matcher.suggestion(limit_parts)
            raise ConfigError(f"the limit {limit!r} leaves none of the {before:,} hosts of {pattern!r}{cure}")
    return Selection(tuple(hosts), tuple(matcher.warnings), inventory.notes)


def _limit_parts(limit: str) -> list[str]:
    parts: list[str] = []
    for part in split_pattern(limit):
        parts += _lines_of(Path(part[1:])) if part.startswith("@") else [part]
    if not parts:
        raise ConfigError(f"the limit {limit!r} names no host: omit --limit to select every host")
    return parts


def _lines_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"the limit file cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError:
        raise ConfigError("the limit file is not UTF-8", file=path) from None
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


class _Matcher:
    """Evaluate parts over one inventory, and collect a warning for each part that matches nothing."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._localhost = next((inventory.hosts[name] for name in inventory.hosts if name in LOCALHOST_NAMES), None)
        self.warnings: list[str] = []

    def evaluate(self, parts: Iterable[str]) -> list[Host]:
        """Return the selected hosts: unions first, then `&`, then `!`. Without a plain part, `all` is the first."""
        given = list(parts)
        plain = [part for part in given if part[0] not in "&!"] or ["all"]
        hosts: dict[str, Host] = {}
        for part in plain:
            hosts |= {host.name: host for host in self._named(part)}
        for part in (part for part in given if part[0] == "&"):
            allowed = {host.name for host in self._named(part)}
            hosts = {name: host for name, host in hosts.items() if name in allowed}
        for part in (part for part in given if part[0] == "!"):
            excluded = {host.name for host in self._named(part)}
            hosts = {name: host for name, host in hosts.items() if name not in excluded}
        return list(hosts.values())

    def suggestion(self, parts: Iterable[str]) -> str:
        """Return names that are similar to those `parts` that match nothing, as the end of a sentence."""
        known = [name for name in (*self._inventory.groups, *self._inventory.hosts) if name != "ungrouped"]
        if not self._inventory.hosts:
            return f": {', '.join(self._inventory.sources)} has no hosts"
        words = [_SUBSCRIPT.sub(r"\1", part.lstrip("&!~")) for part in parts]
        import difflib

        near = [name for word in words if word not in known for name in difflib.get_close_matches(word, known, 3, 0.6)]
        if near:
            return f": did you mean {' or '.join(dict.fromkeys(near))}?"
        return f": `fleettrace hosts all` lists all {len(self._inventory.hosts):,} hosts"

    def _named(self, part: str) -> list[Host]:
        """Return the hosts that a part matches, without its `&` or `!`; a host may occur more than once."""
        word = part[1:] if part[0] in "&!" else part
        if not word:
            raise ConfigError(f"the host pattern has {part!r} with nothing after it: add a name")
        if word in self._inventory.hosts and word == part:
            return [self._inventory.hosts[word]]
        expression, subscript = _split_subscript(word)
        hosts = self._matching(expression)
        if not hosts or subscript is None:
            return hosts
        start, end = subscript
        if end:
            return hosts[start : len(hosts) if end == -1 else end + 1]
        try:
            return [hosts[start]]
        except IndexError:
            raise ConfigError(
                f"{word!r} is out of range: {expression!r} has {len(hosts):,} hosts, from [0] on"
            ) from None

    def _matching(self, expression: str) -> list[Host]:
        """Return the hosts of matching groups, then matching hosts unless the expression is a group's plain name."""
        inventory = self._inventory
        match = _compiled(expression).match
        groups = [name for name in inventory.groups if match(name)]
        hosts = [host for name in groups for host in inventory.hosts_in(name)]
        if not groups or expression[0] == "~" or not _GLOB_LETTERS.isdisjoint(expression):
            hosts += [host for name, host in inventory.hosts.items() if match(name)]
        if not hosts and expression in LOCALHOST_NAMES:
            self._localhost = self._localhost or _implicit_localhost(expression, inventory)
            hosts = [self._localhost]
        if not hosts and not groups and expression != "all":
            self.warnings.append(f"the host pattern part {expression!r} matches nothing{self.suggestion([expression])}")
        return hosts


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression[1:] if expression[0] == "~" else fnmatch.translate(expression))
    except re.error as error:
        raise ConfigError(f"the host pattern {expression!r} is not a regular expression: {error}") from None


def _split_subscript(word: str) -> tuple[str, tuple[int, int | None] | None]:
    """Split a part from its subscript's two ends. The second is -1 for an open end, None for a single index."""
    match = None if word[0] == "~" else _SUBSCRIPT.fullmatch(word)
    if not match:
        return word, None
    if match[2]:
        return match[1], (int(match[2]), None)
    return match[1], (int(match[3]), int(match[4] or -1))


def _implicit_localhost(name: str, inventory: Inventory) -> Host:
    """Return the host that Ansible adds for `localhost`: the variables of `all`, and a local connection."""
    implicit = Layer({"ansible_connection": "local"}, Origin("<implicit localhost>", has_lines=False))
    layers = (*inventory.common_layers, implicit)
    return Host(name, {key: value for layer in layers for key, value in layer.values.items()}, (), layers)
