"""What a value may be: one description reads it, says what is wrong with it, and gives its JSON Schema.

A shape reads a `Node` whose variables are put in. What is wrong is noted, all of it, and `WRONG` is given in the
value's place; a node that is BROKEN has been told of before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fleettrace.errors import ConfigError
from fleettrace.playbook.problems import PlaybookError, Problems, meant
from fleettrace.yaml_reader.tree import Location, Node, NodeKind

__all__ = [
    "WRONG",
    "Either",
    "KeySpec",
    "ListOf",
    "MappingType",
    "OneOf",
    "Switch",
    "Text",
    "ValueType",
    "WordList",
    "optional_variable",
]

WRONG: Final = object()
"""Given for a value that is none."""

_SCALARS = (NodeKind.TEXT, NodeKind.NUMBER, NodeKind.TRUTH)
_VARIABLE = {"type": "string", "pattern": "\\{\\{"}


class ValueType(Protocol):
    """What a value may be."""

    def read(self, node: Node, problems: Problems) -> Any:
        """The value of `node`, or `WRONG` and at least one problem."""
        ...

    def schema(self) -> dict[str, Any]:
        """As JSON Schema, a variable in the place of any scalar included."""
        ...


def optional_variable(schema: dict[str, Any]) -> dict[str, Any]:
    """What `schema` allows, or a text with a variable."""
    return {"anyOf": [schema, dict(_VARIABLE)]}


def _unlike(node: Node, expected: str, problems: Problems) -> Any:
    if node.kind is not NodeKind.BROKEN:
        shown = f"{node.text!r} is {node.kind}" if node.kind in _SCALARS else f"here is {node.kind}"
        problems.add(node.location, f"{shown}; expected {expected}")
    return WRONG


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, by the letters it was written with. `read_text` raises `ValueError` or `ConfigError`."""

    expected: str
    read_text: Callable[[str], Any] = str
    may_be: tuple[str, ...] = ("string",)
    """The JSON types that an editor may allow: of the text itself only a run of `read_text` can say all."""

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it."""
        if node.kind not in _SCALARS:
            return _unlike(node, self.expected, problems)
        try:
            return self.read_text(node.text)
        except ConfigError as error:
            message = error.message
        except ValueError as error:
            message = str(error)
        problems.add(node.location, _with_expectation(message, self.expected))
        return WRONG

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        return {"type": list(self.may_be) if len(self.may_be) > 1 else self.may_be[0]}


def _with_expectation(message: str, expected: str) -> str:
    """The converters of the command line say `wrong: expected right`; here it is `wrong; expected right`."""
    if "expected " in message:
        return message.replace(": expected ", "; expected ", 1)
    return f"{message}; expected {expected}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    names: tuple[str, ...]
    read_text: Callable[[str], Any] = str
    alone: str | None = None
    """What a bare `true` stands for."""

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it."""
        if self.alone is not None and node.kind is NodeKind.TRUTH:
            return self.read_text(self.alone) if _true(node) else None
        if node.kind not in _SCALARS:
            return _unlike(node, _one_of(self.names), problems)
        if node.text not in self.names:
            problems.add(
                node.location,
                f"unknown value {node.text!r}; expected {_one_of(self.names)}{meant(node.text, self.names)}",
            )
            return WRONG
        return self.read_text(node.text)

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        words: dict[str, Any] = {"enum": [*self.names, *([] if self.alone is None else [True, False])]}
        return optional_variable(words)


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it."""
        return _true(node) if node.kind is NodeKind.TRUTH else _unlike(node, "true or false", problems)

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        return optional_variable({"type": "boolean"})


def _true(node: Node) -> bool:
    return node.text.lower() in ("true", "yes", "on")


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; a single value stands for a list of it."""

    shape: ValueType
    expected: str

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it."""
        if node.kind is NodeKind.NOTHING:
            return _unlike(node, self.expected, problems)
        items = node.items if node.kind is NodeKind.LIST else (node,)
        values = [self.shape.read(item, problems) for item in items]
        return WRONG if any(value is WRONG for value in values) else values

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        one = self.shape.schema()
        return {"anyOf": [one, {"type": "array", "items": one}, dict(_VARIABLE)]}


@dataclass(frozen=True, slots=True)
class WordList:
    """Words of one text with commas between them, or a list of them: `get,set` or `[get, set]`."""

    whole: Text

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it."""
        if node.kind is not NodeKind.LIST:
            return self.whole.read(node, problems)
        for item in node.items:
            if item.kind not in _SCALARS:
                return _unlike(item, self.whole.expected, problems)
        return self.whole.read(Node(NodeKind.TEXT, node.location, ",".join(item.text for item in node.items)), problems)

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        one = self.whole.schema()
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key of a mapping."""

    shape: ValueType
    text: str
    """What it is for, in a line."""
    required: bool = False


@dataclass(frozen=True, slots=True)
class MappingType:
    """A mapping with these keys. What is read is a dict of those that are given."""

    what: str
    """What the mapping is, with its article."""
    keys: Mapping[str, KeySpec]
    elsewhere: Mapping[str, str] = ()  # type: ignore[assignment]
    """Names that people will look for here, and where they are instead."""
    make: Callable[[dict[str, Any], Mapping[str, Location]], Any] | None = None
    """Makes the value of what was read, and of where each key's value stands; raises `ConfigError`."""

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it."""
        if node.kind is not NodeKind.MAPPING:
            return _unlike(node, f"{self.what}: a mapping with the keys {', '.join(self.keys)}", problems)
        values: dict[str, Any] = {}
        hints = ""
        for key, value in node.entries:
            known = self.keys.get(key.text)
            if known is None:
                problems.add(key.location, self._unknown(key.text))
                values[key.text] = WRONG
                hints += meant(key.text, self.keys)
            else:
                values[key.text] = known.shape.read(value, problems)
        # A key that is there under a name nearly right is not missing as well.
        missing = [n for n, key in self.keys.items() if key.required and n not in values and repr(n) not in hints]
        for name in missing:
            problems.add(node.location, f"{self.what} without `{name}`; expected {self.keys[name].text}")
        if missing or any(value is WRONG for value in values.values()):
            return WRONG
        return self._made(values, node, problems)

    def _made(self, values: dict[str, Any], node: Node, problems: Problems) -> Any:
        if self.make is None:
            return values
        try:
            return self.make(values, {key.text: value.location for key, value in node.entries})
        except PlaybookError as error:
            for problem in error.problems:
                problems.add(problem.location, problem.message)
            return WRONG
        except ConfigError as error:
            problems.add(node.location, _with_expectation(error.message, self.what))
            return WRONG

    def _unknown(self, name: str) -> str:
        where = dict(self.elsewhere).get(name)
        if where is not None:
            return f"`{name}` does not belong here; expected {where}"
        near = meant(name, self.keys)
        known = "an option of `fleettrace run`" if len(self.keys) > 15 else f"one of {', '.join(self.keys)}"
        return f"unknown key {name!r} in {self.what}; expected {known}{near}"

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        properties = {name: {"description": key.text} | key.shape.schema() for name, key in self.keys.items()}
        required = [name for name, key in self.keys.items() if key.required]
        made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
        return made | ({"required": required} if required else {})


@dataclass(frozen=True, slots=True)
class Either:
    """A scalar of one shape, or a mapping of another."""

    scalar: ValueType
    mapping: ValueType

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it."""
        return (self.mapping if node.kind is NodeKind.MAPPING else self.scalar).read(node, problems)

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        return {"anyOf": [self.scalar.schema(), self.mapping.schema()]}
