"""What an inventory says, as plain values: hosts, groups, variables and where each of them was written.

Everything here is immutable and ordered as Ansible orders it. `Tree` (in `tree.py`) makes these values; nothing here
reads a file, except that an `Origin` looks its line up in the file when an error wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.values import line_of

__all__ = ["Group", "Host", "Inventory", "Layer", "Origin", "Variables"]

Variables = Mapping[str, object]
"""Variable names to their values as YAML or JSON has them: never templated, secrets as `Vaulted`."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was written: a file, and the keys that lead to it in there."""

    file: str
    path: tuple[object, ...] = ()
    has_lines: bool = True
    """False for what was no file: standard input, or what a script printed."""

    def line(self) -> int | None:
        """The line (1-based), looked up in the file now; None when there is none to be had."""
        if not self.has_lines:
            return None
        try:
            return line_of(Path(self.file).read_text(encoding="utf-8-sig"), self.path)
        except (OSError, UnicodeDecodeError):
            return None

    def at(self, *keys: object) -> Origin:
        """The place that `keys` lead to from here."""
        return Origin(self.file, (*self.path, *keys), self.has_lines)

    def error(self, message: str) -> ConfigError:
        """A `ConfigError` that names this place."""
        return ConfigError(message, file=self.file, line=self.line())


@dataclass(frozen=True, slots=True)
class Layer:
    """Variables that were written together, in one place, for one host or group."""

    values: Variables
    origin: Origin


@dataclass(frozen=True, slots=True)
class Host:
    """One host, with the variables that Ansible would give it."""

    name: str
    variables: Variables = field(repr=False)
    """Merged in Ansible's precedence; read-only."""
    groups: tuple[str, ...] = ()
    """Every group it is in, directly or not, sorted; without `all`, as Ansible's `group_names`."""
    layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """What `variables` was merged from; later layers win."""

    def origin(self, variable: str) -> Origin | None:
        """Where the value that `variable` has was written; None when the host does not have it."""
        for layer in reversed(self.layers):
            if variable in layer.values:
                return layer.origin.at(variable)
        return None


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it was written: its own hosts, children and variables, not those of others."""

    name: str
    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    variables: Variables = field(default_factory=dict, repr=False)
    depth: int = 0
    """The longest way from `all` to here, in steps; deeper groups win."""
    priority: int = 1
    """`ansible_group_priority`: among groups of one depth the higher wins, then the later name."""


@dataclass(frozen=True)
class Inventory:
    """All hosts and groups of one source."""

    source: str
    """What the user gave: a path, or `-`."""
    hosts: Mapping[str, Host]
    """By name, in the order of their first mention."""
    groups: Mapping[str, Group]
    """By name, in the order of their first mention; always `all` and `ungrouped`."""
    layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """Every set of variables that was read, once each."""
    common_layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """What every host has: the variables of `all`."""
    warnings: tuple[str, ...] = ()
    """What was passed over, as Ansible passes over it with a warning. One line each."""
    _members: dict[str, tuple[Host, ...]] = field(default_factory=dict, repr=False, compare=False)

    def hosts_in(self, group: str) -> tuple[Host, ...]:
        """All hosts of `group` and of the groups below it, level by level, each once. Raises `KeyError`."""
        if group not in self._members:
            names: dict[str, None] = {}
            for each in self._levels(group):
                names.update(dict.fromkeys(self.groups[each].hosts))
            self._members[group] = tuple(self.hosts[name] for name in names)
        return self._members[group]

    def _levels(self, group: str) -> dict[str, None]:
        """`group` and everything below it, nearest level first."""
        seen = {group: None}
        level = [group]
        while level:
            below = [child for name in level for child in self.groups[name].children]
            level = [child for child in dict.fromkeys(below) if child not in seen]
            seen.update(dict.fromkeys(level))
        return seen
