"""An inventory as values: hosts, groups, variables, and the file and keys where each of them was written.

The values are immutable, and in Ansible's order. `Tree` (in `tree.py`) makes them. The only effect: an `Origin` reads
its file again to find the line for an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.values import line_of

__all__ = ["Group", "Host", "Inventory", "Layer", "Origin", "Variables"]

Variables = Mapping[str, object]
"""Variables by name, with their values in YAML or JSON: templates are not evaluated, secrets are `Vaulted`."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a value: a file, and the keys that lead to the value in it."""

    file: str
    path: tuple[object, ...] = ()
    has_lines: bool = True
    """False for standard input and for the output of a script."""
    number: int | None = None
    """The line (1-based), of a format that is read line by line."""

    def line(self) -> int | None:
        """Return the line (1-based), which it looks up in the file now, None if it is not known."""
        if self.number is not None or not self.has_lines:
            return self.number
        try:
            return line_of(Path(self.file).read_text(encoding="utf-8-sig"), self.path)
        except (OSError, UnicodeDecodeError):
            return None

    def at(self, *keys: object) -> Origin:
        """Return the place that `keys` lead to from here."""
        return Origin(self.file, (*self.path, *keys), self.has_lines, self.number)

    def error(self, message: str) -> ConfigError:
        """Return a `ConfigError` that names this place."""
        return ConfigError(message, file=self.file, line=self.line())


@dataclass(frozen=True, slots=True)
class Layer:
    """Variables that were written together, for one host or group."""

    values: Variables
    origin: Origin


@dataclass(frozen=True, slots=True)
class Host:
    """One host, with the variables that it has in Ansible."""

    name: str
    variables: Variables = field(repr=False)
    """Merged in Ansible's precedence; read-only."""
    groups: tuple[str, ...] = ()
    """Every group that it is in, directly or not, sorted; without `all`, as in Ansible's `group_names`."""
    layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """The layers that `variables` was merged from; later layers win."""

    def origin(self, variable: str) -> Origin | None:
        """Return where the value of `variable` was written, None if the host does not have it."""
        for layer in reversed(self.layers):
            if variable in layer.values:
                return layer.origin.at(variable)
        return None


@dataclass(frozen=True, slots=True)
class Group:
    """A group with its own hosts, children and variables, without inherited ones."""

    name: str
    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    variables: Variables = field(default_factory=dict, repr=False)
    depth: int = 0
    """The length of the longest path from `all`; deeper groups win."""
    priority: int = 1
    """`ansible_group_priority`: among groups of one depth, the higher one wins, then the later name."""


@dataclass(frozen=True)
class Inventory:
    """All hosts and groups of the sources of a run."""

    sources: tuple[str, ...]
    """As the user named them: paths, lists of hosts, or `-`."""
    hosts: Mapping[str, Host]
    """By name, in the order of their first mention."""
    groups: Mapping[str, Group]
    """By name, in the order of their first mention; always `all` and `ungrouped`."""
    layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """Every set of variables that was read, once each."""
    common_layers: tuple[Layer, ...] = field(default=(), repr=False, compare=False)
    """The variables of `all`, which every host has."""
    warnings: tuple[str, ...] = ()
    """What was ignored, as in Ansible. One line each."""
    notes: tuple[str, ...] = ()
    """How sources were read that Ansible had to read. One line each."""
    _members: dict[str, tuple[Host, ...]] = field(default_factory=dict, repr=False, compare=False)

    def hosts_in(self, group: str) -> tuple[Host, ...]:
        """Return all hosts of `group` and of the groups below it, level by level, each once. Raises `KeyError`."""
        if group not in self._members:
            names: dict[str, None] = {}
            for each in self._levels(group):
                names.update(dict.fromkeys(self.groups[each].hosts))
            self._members[group] = tuple(self.hosts[name] for name in names)
        return self._members[group]

    def _levels(self, group: str) -> dict[str, None]:
        """Return `group` and every group below it, the nearest level first."""
        seen = {group: None}
        level = [group]
        while level:
            below = [child for name in level for child in self.groups[name].children]
            level = [child for child in dict.fromkeys(below) if child not in seen]
            seen.update(dict.fromkeys(level))
        return seen
