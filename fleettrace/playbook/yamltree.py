"""YAML as a tree that knows where everything stands, built from the parser's events under bounds.

A playbook is small: one of a megabyte, nested fifty deep, or whose aliases unfold to a hundred thousand values, is a
mistake or an attack, and is refused before it is built. Scalars keep the text they were written with, for
`duration: 1:30` or `serial: 010` mean something else to YAML than to a command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fleettrace.inventory.yamlerrors import describe, mark_of, too_deep
from fleettrace.playbook.problems import Location, PlaybookError, Problem

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Node", "NodeKind", "read_tree", "text_node"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 50_000

_STANDARD = "tag:yaml.org,2002:"
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for YAML (1.1, section 4.2), which is less than what does for `str.splitlines`."""


class NodeKind(StrEnum):
    """What a value is, in the words of an error."""

    TEXT = "a text"
    NUMBER = "a number"
    TRUTH = "true or false"
    NOTHING = "nothing"
    LIST = "a list"
    MAPPING = "a mapping"
    BROKEN = "a value with an error of its own"
    """Something is wrong with it that was told already: whoever reads it says nothing."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands."""

    kind: NodeKind
    place: Location
    text: str = ""
    """A scalar as it was written, without its quotes."""
    items: tuple[Node, ...] = ()
    entries: tuple[tuple[Node, Node], ...] = ()
    """A mapping's keys and values in their order. No key stands there twice."""
    begins: Location | None = None
    """Where the text begins, when it stands in the file letter by letter on one line."""
    plain: bool = False
    """Tagged `!unsafe`: braces in it are only braces."""
    size: int = field(default=1, compare=False)

    def get(self, name: str) -> Node | None:
        """A mapping's value of that key."""
        return next((value for key, value in self.entries if key.text == name), None)

    def at(self, place: Location) -> Node:
        """The same value, as it is used elsewhere."""
        return replace(self, place=place, begins=None)


def text_node(text: str, place: Location) -> Node:
    """A text that stands in no file."""
    return Node(NodeKind.TEXT, place, text)


def read_tree(text: str, file: str) -> Node:
    """The one document of `text`; NOTHING when it is empty. Raises `PlaybookError`."""
    import yaml

    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _error(Location(file, 1, 1), f"this is longer than the {MAX_BYTES:,} bytes that a playbook may have")
    try:
        return _Builder(text, file).document()
    except yaml.YAMLError as error:
        mark = mark_of(error)
        place = Location(file, mark.line + 1, mark.column + 1) if mark else Location(file, 1, 1)
        raise _error(place, describe(error, MAX_DEPTH)) from None


def _error(place: Location, message: str) -> PlaybookError:
    return PlaybookError([Problem(place, message)])


class _Builder:
    """Builds the tree of one document."""

    def __init__(self, text: str, file: str) -> None:
        import yaml

        loader_class: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._yaml = yaml
        self._file = file
        self._lines = _BREAK.split(text)
        self._loader: Any = loader_class(text)
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._deepest = 0
        self._nodes = 0

    def document(self) -> Node:
        self._event()
        if type(event := self._event()) is self._yaml.StreamEndEvent:
            return Node(NodeKind.NOTHING, Location(self._file, 1, 1))
        node = self._node(self._event(), 1)
        self._event()
        if type(event := self._event()) is not self._yaml.StreamEndEvent:
            raise _error(self._place(event), "bad YAML: a second document begins here; expected one in each file")
        return node

    def _event(self) -> Any:
        return self._loader.get_event()

    def _place(self, event: Any) -> Location:
        return Location(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _node(self, event: Any, depth: int) -> Node:
        place = self._place(event)
        if type(event) is self._yaml.AliasEvent:
            if event.anchor not in self._anchors:
                raise _error(place, f"bad YAML: the alias *{event.anchor} has no anchor before it")
            node, height = self._anchors[event.anchor]
            self._count(node.size, place)
            self._reach(depth - 1 + height, place)
            return node
        self._count(1, place)
        if type(event) is self._yaml.ScalarEvent:
            node, height = self._scalar(event, place), 0
        else:
            node, height = self._collection(event, place, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node, height
        return node

    def _collection(self, event: Any, place: Location, depth: int) -> tuple[Node, int]:
        """Return a list or mapping, and how many levels it has, those behind aliases included."""
        outside, self._deepest = self._deepest, 0
        self._reach(depth, place)
        if type(event) is self._yaml.SequenceStartEvent:
            node = self._sequence(place, depth, self._collection_tag(event, "seq", place))
        else:
            node = self._mapping(place, depth, self._collection_tag(event, "map", place))
        height = self._deepest - depth + 1
        self._deepest = max(outside, self._deepest)
        return node, height

    def _reach(self, depth: int, place: Location) -> None:
        if depth > MAX_DEPTH:
            raise _error(place, too_deep(MAX_DEPTH))
        self._deepest = max(self._deepest, depth)

    def _count(self, nodes: int, place: Location) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _error(place, f"bad YAML: more than {MAX_NODES:,} values, aliases unfolded")

    def _collection_tag(self, event: Any, kind: str, place: Location) -> bool:
        if event.tag not in (None, "!", "!unsafe", _STANDARD + kind):
            raise _error(place, f"bad YAML: the tag {event.tag!r} is not known here")
        return bool(event.tag == "!unsafe")

    def _scalar(self, event: Any, place: Location) -> Node:
        tag = event.tag
        if tag not in (None, "!", "!unsafe") and not tag.startswith(_STANDARD):
            raise _error(place, f"bad YAML: the tag {tag!r} is not known here")
        if tag is None:
            tag = self._loader.resolve(self._yaml.ScalarNode, event.value, event.implicit)
        kind = {"int": NodeKind.NUMBER, "float": NodeKind.NUMBER, "bool": NodeKind.TRUTH, "null": NodeKind.NOTHING}.get(
            tag.removeprefix(_STANDARD), NodeKind.TEXT
        )
        return Node(kind, place, event.value, begins=self._begins(event, place), plain=tag == "!unsafe")

    def _begins(self, event: Any, place: Location) -> Location | None:
        """Quotes and tags stand before a text; where escapes or folds change it, no column could be told."""
        line = self._lines[place.line - 1] if place.line <= len(self._lines) else ""
        begin = event.end_mark.column - (event.style in ("'", '"')) - len(event.value)
        if event.start_mark.line != event.end_mark.line or not line.startswith(event.value, max(begin, 0)):
            return None
        return Location(place.file, place.line, begin + 1)

    def _sequence(self, place: Location, depth: int, plain: bool) -> Node:
        items = []
        while type(event := self._event()) is not self._yaml.SequenceEndEvent:
            items.append(self._node(event, depth + 1))
        if plain:
            items = [_plain(item) for item in items]
        return Node(NodeKind.LIST, place, items=tuple(items), size=1 + sum(item.size for item in items))

    def _mapping(self, place: Location, depth: int, plain: bool) -> Node:
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        while type(event := self._event()) is not self._yaml.MappingEndEvent:
            key, value = self._node(event, depth + 1), self._node(self._event(), depth + 1)
            if key.kind in (NodeKind.LIST, NodeKind.MAPPING):
                raise _error(key.place, f"bad YAML: {key.kind} cannot be a key")
            if key.text == "<<" and key.begins == key.place:
                merged = {**self._merged(value), **merged}
                continue
            if key.text in own:
                first = own[key.text][0].place.line
                raise _error(key.place, f"the key {key.text!r} stands here twice, first on line {first}; expected one")
            own[key.text] = (key, _plain(value) if plain else value)
        entries = tuple((merged | own).values())
        return Node(NodeKind.MAPPING, place, entries=entries, size=1 + sum(k.size + v.size for k, v in entries))

    def _merged(self, value: Node) -> Mapping[str, tuple[Node, Node]]:
        sources: Sequence[Node] = value.items if value.kind is NodeKind.LIST else [value]
        merged: dict[str, tuple[Node, Node]] = {}
        for source in reversed(sources):
            if source.kind is not NodeKind.MAPPING:
                raise _error(source.place, f"bad YAML: '<<' merges mappings; here is {source.kind}")
            merged |= {key.text: (key, value) for key, value in source.entries}
        return merged


def _plain(node: Node) -> Node:
    """The same with braces that are only braces, all the way down."""
    return replace(
        node,
        plain=True,
        items=tuple(_plain(item) for item in node.items),
        entries=tuple((key, _plain(value)) for key, value in node.entries),
    )
