"""Read YAML into nodes that know their location in the file.

A playbook is small: a text of a megabyte, nested 50 levels deep, or with aliases that unfold to 100,000 values, is a
mistake or an attack, and the reader refuses it before it builds the nodes. Scalars keep their text, because
`duration: 1:30` and `serial: 010` mean something else to YAML than to a command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.events import STANDARD_TAG, UNHASHABLE_KEY, EventReader, duplicate_key

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Location", "Node", "NodeKind", "YamlError", "read_tree", "text_node"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 50_000

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line in YAML 1.1 (section 4.2): fewer characters than `str.splitlines` takes."""


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file; line and column are 1-based."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class YamlError(ConfigError):
    """A text is not valid YAML, or exceeds a bound."""

    def __init__(self, message: str, location: Location) -> None:
        super().__init__(message, file=location.file, line=location.line)
        self.location = location

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"


class NodeKind(StrEnum):
    """The type of a node, as error messages call it."""

    STRING = "a string"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    NULL = "no value"
    LIST = "a list"
    MAPPING = "a mapping"
    INVALID = "an invalid value"
    """The error is reported already: code that reads the node reports nothing."""


_SCALAR_KINDS = {
    "int": NodeKind.NUMBER,
    "float": NodeKind.NUMBER,
    "bool": NodeKind.BOOLEAN,
    "null": NodeKind.NULL,
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its location."""

    kind: NodeKind
    location: Location
    text: str = ""
    """A scalar's text in the file, without its quotes."""
    items: tuple[Node, ...] = ()
    entries: tuple[tuple[Node, Node], ...] = ()
    """A mapping's keys and values in their order. Keys are unique."""
    text_location: Location | None = None
    """Where `text` begins; None when the file has it in another form (escapes, folds) or on several lines."""
    is_literal: bool = False
    """Whether `{{` in the text is plain text, not a variable: the value is tagged `!unsafe`."""
    size: int = field(default=1, compare=False)
    """Values in the node, itself included."""

    def get(self, name: str) -> Node | None:
        """Return a mapping's value of that key."""
        return next((value for key, value in self.entries if key.text == name), None)

    def at(self, location: Location) -> Node:
        """Return the same value at another location, where it is used."""
        return replace(self, location=location, text_location=None)


def text_node(text: str, location: Location) -> Node:
    """Return a string that is not in a file; `location` stands for it in errors."""
    return Node(NodeKind.STRING, location, text)


def read_tree(text: str, file: str) -> Node:
    """Return the one document of `text`; a node of the kind NULL when it is empty. Raise `YamlError`."""
    start = Location(file, 1, 1)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise YamlError(f"the file is too long: expected at most {MAX_BYTES:,} bytes", start)
    return _TreeReader(text, file).read() or Node(NodeKind.NULL, start)


class _TreeReader(EventReader[Node]):
    """Build nodes."""

    max_depth = MAX_DEPTH
    max_values = MAX_NODES
    max_aliased = inf

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text, file)
        self._lines = _BREAK.split(text)

    def _is_known(self, tag: str | None, is_mapping: bool) -> bool:
        return tag in (None, "!", "!unsafe", STANDARD_TAG + ("map" if is_mapping else "seq"))

    def _error(self, mark: yaml.Mark | None, message: str) -> YamlError:
        return YamlError(message, self._location(mark) if mark else Location(self._file, 1, 1))

    def _location(self, mark: yaml.Mark) -> Location:
        return Location(self._file, mark.line + 1, mark.column + 1)

    def _scalar(self, event: Any) -> Node:
        tag = event.tag
        if tag not in (None, "!", "!unsafe") and not tag.startswith(STANDARD_TAG):
            raise self._unknown_tag(event, tag)
        if tag is None:
            tag = self._loader.resolve(self._yaml.ScalarNode, event.value, event.implicit)
        kind = _SCALAR_KINDS.get(tag.removeprefix(STANDARD_TAG), NodeKind.STRING)
        location = self._location(event.start_mark)
        text_location = self._text_location(event, location)
        return Node(kind, location, event.value, text_location=text_location, is_literal=tag == "!unsafe")

    def _text_location(self, event: Any, location: Location) -> Location | None:
        """Return where the text begins, behind its quotes and tags; None where the file has another text."""
        line = self._lines[location.line - 1] if location.line <= len(self._lines) else ""
        begin = event.end_mark.column - (event.style in ("'", '"')) - len(event.value)
        if event.start_mark.line != event.end_mark.line or not line.startswith(event.value, max(begin, 0)):
            return None
        return Location(location.file, location.line, begin + 1)

    def _sequence(self, start: Any) -> Node:
        items = []
        while type(event := self._next()) is not self._yaml.SequenceEndEvent:
            items.append(self._value(event))
        if start.tag == "!unsafe":
            items = [_literal(item) for item in items]
        location = self._location(start.start_mark)
        return Node(NodeKind.LIST, location, items=tuple(items), size=1 + sum(item.size for item in items))

    def _mapping(self, start: Any) -> Node:
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        while type(event := self._next()) is not self._yaml.MappingEndEvent:
            key, value = self._value(event), self._value(self._next())
            if key.kind in (NodeKind.LIST, NodeKind.MAPPING):
                raise YamlError(UNHASHABLE_KEY, key.location)
            if key.text == "<<" and key.text_location == key.location:
                merged = {**_merged(value), **merged}
                continue
            if key.text in own:
                raise YamlError(duplicate_key(key.text, own[key.text][0].location.line), key.location)
            own[key.text] = (key, _literal(value) if start.tag == "!unsafe" else value)
        entries = tuple((merged | own).values())
        size = 1 + sum(key.size + value.size for key, value in entries)
        return Node(NodeKind.MAPPING, self._location(start.start_mark), entries=entries, size=size)


def _merged(value: Node) -> Mapping[str, tuple[Node, Node]]:
    """Return the entries that the value of a key `<<` adds."""
    sources: Sequence[Node] = value.items if value.kind is NodeKind.LIST else [value]
    merged: dict[str, tuple[Node, Node]] = {}
    for source in reversed(sources):
        if source.kind is not NodeKind.MAPPING:
            raise YamlError(f"bad YAML: '<<' merges mappings only: found {source.kind}", source.location)
        merged |= {key.text: (key, value) for key, value in source.entries}
    return merged


def _literal(node: Node) -> Node:
    """Return the same value with `is_literal` set in it and in all that it holds."""
    return replace(
        node,
        is_literal=True,
        items=tuple(_literal(item) for item in node.items),
        entries=tuple((key, _literal(value)) for key, value in node.entries),
    )
