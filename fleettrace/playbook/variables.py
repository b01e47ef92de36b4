"""Expand variables: `{{ name }}` in a value becomes the variable's value, and there is no other templating.

A value that consists of `{{ name }}` alone takes the variable's value and type, a number or a list too; inside a string
the variable's text is inserted. Variables can use other variables. There are no expressions and no filters: a playbook
shows what it does, and nothing in it is executed. Values tagged `!unsafe` are not expanded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from fleettrace.playbook.problems import Problems, meant
from fleettrace.yaml_reader.tree import MAX_NODES, Location, Node, NodeKind

__all__ = ["NAME", "VariableScope", "names_in"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_MAX_TEXT = 100_000


def names_in(node: Node) -> set[str]:
    """Return the names of the variables that a value uses."""
    if node.is_literal:
        return set()
    found = {use.strip() for use in _USE.findall(node.text)}
    for item in node.items:
        found |= names_in(item)
    for _, value in node.entries:
        found |= names_in(value)
    return found


class VariableScope:
    """The variables of one play."""

    def __init__(self, variables: Mapping[str, Node], problems: Problems) -> None:
        self._variables = variables
        self._problems = problems
        self._known: dict[str, Node] = {}
        self._expanding: list[str] = []

    def fill(self, node: Node) -> Node:
        """Return the value with all variables expanded; for an error, add a problem and return an INVALID node."""
        if node.is_literal:
            return node
        if not node.items and not node.entries:
            return self._text(node) if "{{" in node.text else node
        items = tuple(self.fill(item) for item in node.items)
        entries = tuple((key, self.fill(value)) for key, value in node.entries)
        size = 1 + sum(one.size for one in (*items, *(value for _, value in entries)))
        if size > MAX_NODES:
            self._problems.add(node.location, f"too many values: expected at most {MAX_NODES:,}, variables expanded")
            return Node(NodeKind.INVALID, node.location)
        return replace(node, items=items, entries=entries, size=size)

    def _text(self, node: Node) -> Node:
        alone = re.fullmatch(r"\s*\{\{([^{}]*)\}\}\s*", node.text)
        if alone is not None:
            return self._value(alone[1].strip(), self._use_location(node, alone.start(0))).at(node.location)
        made, end, invalid = [], 0, False
        for use in _USE.finditer(node.text):
            value = self._value(use[1].strip(), self._use_location(node, use.start()))
            if value.kind in (NodeKind.LIST, NodeKind.MAPPING):
                self._problems.add(
                    self._use_location(node, use.start()),
                    f"the variable {use[1].strip()!r} is {value.kind}: expected a string or a number inside a string",
                )
            invalid = invalid or value.kind in (NodeKind.LIST, NodeKind.MAPPING, NodeKind.INVALID)
            made += [node.text[end : use.start()], value.text]
            end = use.end()
        rest = node.text[end:]
        if "{{" in rest:
            self._problems.add(
                self._use_location(node, end + rest.index("{{")),
                "'{{' without '}}': expected {{ name }}, or !unsafe before a string with literal braces",
            )
            invalid = True
        text = "".join([*made, rest])
        if len(text) > _MAX_TEXT:
            self._problems.add(
                node.location, f"too long: expected at most {_MAX_TEXT:,} characters, variables expanded"
            )
            invalid = True
        return Node(NodeKind.INVALID, node.location) if invalid else Node(NodeKind.STRING, node.location, text)

    def _value(self, name: str, location: Location) -> Node:
        if name in self._known:
            return self._known[name]
        invalid = Node(NodeKind.INVALID, location)
        if not NAME.fullmatch(name):
            self._problems.add(
                location,
                f"{{{{ {name} }}}} is not a variable: expected a name of letters, digits and _, no expression",
            )
            return invalid
        if name not in self._variables:
            hint = meant(name, self._variables) or f": expected it in `vars` or in -e {name}=VALUE"
            self._problems.add(location, f"the variable {name!r} is not defined{hint}")
            return invalid
        if name in self._expanding:
            cycle = " -> ".join([*self._expanding[self._expanding.index(name) :], name])
            self._problems.add(location, f"the variable {name!r} depends on itself: {cycle}")
            return invalid
        self._expanding.append(name)
        value = self.fill(self._variables[name])
        self._expanding.pop()
        self._known[name] = value
        return value

    @staticmethod
    def _use_location(node: Node, offset: int) -> Location:
        start = node.text_location
        return node.location if start is None else Location(start.file, start.line, start.column + offset)
