"""Read Ansible's INI layout: hosts by section, `[group:children]` and `[group:vars]`.

The grammar is that of Ansible's `ini` plugin: what stands before the first section is not in a group, a host's line
holds its name and `name=value` pairs in shell quoting, and each value is a Python literal where it can be one.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.layout import expand_host
from fleettrace.inventory.loaders.words import clipped, excerpt, split_words
from fleettrace.inventory.model import Layer, Origin
from fleettrace.inventory.tree import Tree

__all__ = ["add_ini", "ini_value"]

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_GROUP_NAME = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
_STATES = ("hosts", "children", "vars")
# Values that Python cannot read as anything but a string: most values of most inventories.
_PLAIN = re.compile(r"(?!(?:True|False|None)$)[A-Za-z_./~][\w./:@-]*|[0-9]+(?:\.[0-9]+){2,}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(slots=True)
class _Pending:
    """A group that is named before it is declared."""

    line: int
    state: str
    parents: list[str] = field(default_factory=list)


def add_ini(tree: Tree, text: str, file: str) -> None:
    """Add the groups and hosts of `text`, the content of `file`. Raises `ConfigError` with the line of the fault."""
    _Reader(tree, file).read(text)


def ini_value(text: str) -> object:
    """Return the Python literal in `text`, as Ansible does; a text that is none stays a string."""
    if _PLAIN.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text):
        return int(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return _plain_types(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _plain_types(value: object) -> object:
    """Return a literal with the types of YAML: sets and tuples become lists, numbers that YAML lacks become strings."""
    if isinstance(value, (list, tuple, set)):
        return [_plain_types(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain_types(each) for key, each in value.items()}
    if value is ...:
        return "..."
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value) if isinstance(value, complex) else value


class _Reader:
    def __init__(self, tree: Tree, file: str) -> None:
        self._tree = tree
        self._file = file
        self._line = 0
        self._pending: dict[str, _Pending] = {}
        self._vars: dict[str, object] = {}

    def read(self, text: str) -> None:
        group, state = "ungrouped", "hosts"
        for self._line, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            if not line or line[0] in ";#":
                continue
            if section := _SECTION.fullmatch(line):
                group, state = section[1], section[2] or "hosts"
                self._begin(group, state)
            elif line[0] == "[" and line[-1] == "]":
                raise self._error(
                    f"{excerpt(line)} is not a section: expected [group], [group:children] or [group:vars]"
                )
            elif state == "hosts":
                self._add_host(line, group)
            elif state == "vars":
                self._add_variable(line, group)
            else:
                self._add_child(line, group)
        for name, pending in self._pending.items():
            self._line = pending.line
            short = clipped(name)
            where = f"{clipped(pending.parents[-1])}:children" if pending.parents else f"{short}:vars"
            raise self._error(f"the section [{where}] names the group {short!r}, which no section [{short}] declares")

    def _begin(self, group: str, state: str) -> None:
        if state not in _STATES:
            raise self._error(
                f"[{clipped(group)}:{clipped(state)}]: expected one of {', '.join(_STATES)} after the colon"
            )
        if not self._tree.has_group(group):
            if state == "vars" and group not in self._pending:
                self._pending[group] = _Pending(self._line, state)
            self._tree.add_group(group, self._origin())
        pending = self._pending.get(group)
        if pending is not None and state != "vars":
            if pending.parents:
                self._add_pending(group)
            else:
                del self._pending[group]

    def _add_pending(self, group: str) -> None:
        for parent in self._pending.pop(group).parents:
            self._tree.add_child(parent, group, self._origin())
            if parent in self._pending and self._pending[parent].parents:
                self._add_pending(parent)

    def _add_child(self, line: str, group: str) -> None:
        name = _GROUP_NAME.fullmatch(line)
        if name is None:
            raise self._error(f"expected the name of a group, found {excerpt(line)}")
        child = name[1]
        if self._tree.has_group(child):
            self._tree.add_child(group, child, self._origin())
        else:
            self._pending.setdefault(child, _Pending(self._line, "children")).parents.append(group)

    def _add_variable(self, line: str, group: str) -> None:
        name, equals, value = line.partition("=")
        if not equals:
            raise self._error(f"expected NAME=VALUE, found {excerpt(line)}")
        layer = Layer({name.strip(): ini_value(value.strip())}, self._origin())
        self._tree.add_group_layer(group, layer)

    def _add_host(self, line: str, group: str) -> None:
        words = self._words(line)
        if not words:
            raise self._error(f"expected a host, found {excerpt(line)}")
        pattern = words[0]
        try:
            names, port = expand_host(pattern) if "[" in pattern or ":" in pattern else ([pattern], None)
        except ConfigError as error:
            raise self._error(error.message) from None
        if (pattern.endswith(":") and port is None) or "---" in names:
            raise self._error(f"{excerpt(pattern)} is not a host: is this file YAML? Then name it with .yml")
        layer = Layer(dict(self._pairs(words[1:])), self._origin())
        for name in names:
            self._tree.add_host_layer(self._tree.add_host(name, group, self._origin(), port), layer)

    def _words(self, line: str) -> list[str]:
        # `str.split` would take a no-break space for a separator; Ansible does not.
        if line.isascii() and not any(letter in line for letter in "\"'\\#\x0b\x0c\x1c\x1d\x1e\x1f"):
            return line.split()
        try:
            return split_words(line)
        except ValueError as error:
            raise self._error(f"{error} in {excerpt(line)}: close the quotation") from None

    def _pairs(self, words: list[str]) -> Iterator[tuple[str, object]]:
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise self._error(f"expected NAME=VALUE after the host, found {excerpt(word)}")
            yield name, ini_value(value)

    def _origin(self) -> Origin:
        return Origin(self._file, number=self._line)

    def _error(self, message: str) -> ConfigError:
        return ConfigError(message, file=self._file, line=self._line)
