"""Variables: `{{ name }}` in a value is replaced by what the name stands for, and that is all the templating there is.

A value that is nothing but `{{ name }}` becomes the variable's value as it is, a number or a list too; inside a text
the variable's text is put in. Variables may be made of others. There are no expressions and no filters: what a playbook
asks for can be read from it, and nothing in it is executed. Values tagged `!unsafe` are left as they are.
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
    """The variables that a value uses."""
    if node.is_literal:
        return set()
    found = {use.strip() for use in _USE.findall(node.text)}
    for item in node.items:
        found |= names_in(item)
    for _, value in node.entries:
        found |= names_in(value)
    return found


class VariableScope:
    """What names stand for in one play."""

    def __init__(self, variables: Mapping[str, Node], problems: Problems) -> None:
        self._variables = variables
        self._problems = problems
        self._known: dict[str, Node] = {}
        self._under_way: list[str] = []

    def fill(self, node: Node) -> Node:
        """The value with every variable put in; what is wrong is noted, and BROKEN stands in its place."""
        if node.is_literal:
            return node
        if not node.items and not node.entries:
            return self._text(node) if "{{" in node.text else node
        items = tuple(self.fill(item) for item in node.items)
        entries = tuple((key, self.fill(value)) for key, value in node.entries)
        size = 1 + sum(one.size for one in (*items, *(value for _, value in entries)))
        if size > MAX_NODES:
            self._problems.add(node.location, f"with its variables this has more than {MAX_NODES:,} values")
            return Node(NodeKind.BROKEN, node.location)
        return replace(node, items=items, entries=entries, size=size)

    def _text(self, node: Node) -> Node:
        whole = re.fullmatch(r"\s*\{\{([^{}]*)\}\}\s*", node.text)
        if whole is not None:
            return self._value(whole[1].strip(), self._use_location(node, whole.start(0))).at(node.location)
        made, end, broken = [], 0, False
        for use in _USE.finditer(node.text):
            value = self._value(use[1].strip(), self._use_location(node, use.start()))
            if value.kind in (NodeKind.LIST, NodeKind.MAPPING):
                self._problems.add(
                    self._use_location(node, use.start()),
                    f"the variable {use[1].strip()!r} is {value.kind}, which cannot stand inside a text; expected a "
                    "text or a number, or the variable alone",
                )
            broken = broken or value.kind in (NodeKind.LIST, NodeKind.MAPPING, NodeKind.BROKEN)
            made += [node.text[end : use.start()], value.text]
            end = use.end()
        rest = node.text[end:]
        if "{{" in rest:
            self._problems.add(
                self._use_location(node, end + rest.index("{{")),
                "'{{' without its '}}'; expected {{ name }}, or !unsafe before a text whose braces are only braces",
            )
            broken = True
        text = "".join([*made, rest])
        if len(text) > _MAX_TEXT:
            self._problems.add(node.location, f"with its variables this is longer than {_MAX_TEXT:,} characters")
            broken = True
        return Node(NodeKind.BROKEN, node.location) if broken else Node(NodeKind.TEXT, node.location, text)

    def _value(self, name: str, location: Location) -> Node:
        if name in self._known:
            return self._known[name]
        broken = Node(NodeKind.BROKEN, location)
        if not NAME.fullmatch(name):
            self._problems.add(
                location,
                f"{{{{ {name} }}}} is no variable; expected a name of letters, digits and _ (nothing is computed)",
            )
            return broken
        if name not in self._variables:
            cure = meant(name, self._variables) or f"; expected it in `vars`, or -e {name}=VALUE"
            self._problems.add(location, f"the variable {name!r} is not defined{cure}")
            return broken
        if name in self._under_way:
            way = " -> ".join([*self._under_way[self._under_way.index(name) :], name])
            self._problems.add(location, f"the variable {name!r} is made of itself: {way}")
            return broken
        self._under_way.append(name)
        value = self.fill(self._variables[name])
        self._under_way.pop()
        self._known[name] = value
        return value

    @staticmethod
    def _use_location(node: Node, offset: int) -> Location:
        start = node.text_location
        return node.location if start is None else Location(start.file, start.line, start.column + offset)
